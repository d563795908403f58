"""Everything that a training of the bundled adapter depends on besides its shards."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainOptions:
    """The settings of a run; they are kept in its checkpoint and in the exported adapter."""

    seed: int = 0
    minutes: float = 60.0
    projector_lr: float = 1e-4
    lora_lr: float = 3e-4
    lora_rank: int = 8
    lora_scale: float = 2.0
    frozen_layers: int = (
        0  # of the language model, from the first one; with them the projector and the latents stay, too
    )
    frozen_share: float = 0.0  # of the time, during which the language model stays as it is
    warm_up: int = 20  # updates
    questions_per_image: int = 5
    options_per_question: int = 4
    text_share: float = 0.25  # of questions whose right text is learned too
    text_weight: float = 0.3  # of its likelihood beside the choice
    evidence_share: float = 0.6  # of images that come with evidence
    knowledge_share: float = 0.3  # of images with the notes of their own product
    foreign_share: float = 0.3  # of images with notes of another product, which then answer what is asked about it
    latents_share: float = 0.5
    details_share: float = 0.75  # of images that are asked few questions behind details, with few notes
    details_questions: int = 2
    details_notes: float = 0.15  # of those, with the notes of their own product
    details_counts: tuple[float, ...] = (0.1, 0.6, 0.2, 0.1)  # shares of questions with 0, 1, 2 and 3 details
    good_share: float = 0.9  # of details that stand beside the good part's
    compared_share: float = 0.5  # of further questions that are about the detail itself
    stay: float = 0.5  # weight of staying at the start's answers where there are no details
    ema: float = 0.99
    precision: str = "float32"  # bfloat16 is faster where the processor has it
    held_out: int = 12  # every n-th line is for validation alone
