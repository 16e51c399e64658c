"""The one kind of error that a user can mend."""


class InputError(Exception):
    """Something that the user gave (a parameter, a file, a folder) is wrong.

    Its message is one line that names the culprit and says what would be right; ``stage.py`` and the command line
    print it without a traceback.
    """
