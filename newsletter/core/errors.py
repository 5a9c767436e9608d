"""The errors of the service. The message is one sentence with the name, the place (file and line) and the value."""


class NewsletterError(Exception):
    """Anything that stops a command; its text is shown to the operator after `error: `."""


class ConfigError(NewsletterError):
    """A setting, or a file that a setting names, is missing or wrong."""


class BriefError(NewsletterError):
    """A brief cannot be read, holds no story, or cannot be published as it is."""


class SourceError(NewsletterError):
    """A folder or feed that should hold briefs cannot be read."""


class TemplateError(NewsletterError):
    """A template does not compile or names something that does not exist; carries file and line."""


class TokenError(NewsletterError):
    """A link's token is forged, expired or made for another purpose."""


class QueryError(NewsletterError):
    """A search, a cursor or a choice of the console or the API does not fit; names what was given."""


class ImportRowError(NewsletterError):
    """One row of a subscriber list, or a form, is wrong; the import names it and goes on.

    `column` is the one that does not fit, empty where it is the whole row.
    """

    def __init__(self, message: str, column: str = "") -> None:
        super().__init__(message)
        self.column = column


class TransportError(NewsletterError):
    """The relay cannot be reached or refuses us; nothing is counted against any delivery."""


class MailboxError(NewsletterError):
    """The mailbox of bounces cannot be opened, read or moved in; what is in it stays there."""


class StoreError(NewsletterError):
    """The database cannot be opened, is newer than the program, is read-only or full, or knows no such row."""


class StoreBusyError(StoreError):
    """Another process holds the database's write lock for longer than we wait; the same may go through later."""


class LeaseLostError(StoreError):
    """This worker was not heard of for so long that others took over what it had; it may write nothing any more."""
