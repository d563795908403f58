"""Making the weights of the bundled model: synthetic inspection images, questions with true answers, training.

Nothing of the running tool imports this package.
"""
