"""One small tree of exceptions: everything the tool can explain to its user.

Every message says what was found, what was expected and what to do. The command line prints the message and
exits with code 2; anything that is not a `ReasonIADError` is a fault of the program and exits with code 1.
"""


class ReasonIADError(Exception):
    """Base of every error that the user can act on."""


class InputError(ReasonIADError):
    """An argument, file or combination of options that cannot be used as given."""


class ImageError(InputError):
    """An image that cannot be read, or lies outside the accepted limits."""


class KnowledgeError(InputError):
    """A knowledge entry or file that does not follow the schema."""


class EvidenceError(InputError):
    """References that cannot serve as normal evidence."""


class WeightsError(ReasonIADError):
    """Weights that could not be fetched, verified, converted or stored."""


class ModelError(ReasonIADError):
    """A model that cannot be loaded, or cannot do what was asked of it."""


class ModelUnavailableError(ModelError):
    """A model on a server that does not answer, or does not let this program ask: no fault of what was asked."""


class WorkerLostError(ReasonIADError):
    """A process with a model that ended, or was stopped, in the middle of its work."""


class RecordUnavailableError(InputError):
    """The record's database or its files cannot be reached, or have no room: no fault of what was asked; ask again."""


class LeaseLostError(ReasonIADError):
    """An inspection that another server has taken over, because this one was not heard of for too long."""


class KeyInUseError(InputError):
    """An idempotency key whose first request is not answered yet: ask again."""


class KeyReusedError(InputError):
    """An idempotency key that was given with another request before."""
