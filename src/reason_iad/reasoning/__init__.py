"""Latent reasoning at test time over a frozen model: answers, rewards, latents, injection."""
