"""A program that lets somebody log in through PAM, with a folder of services of its own.

Run as ``python conversation.py FOLDER SERVICE USER [ITEM=VALUE ...]``: items are ``tty`` and
``rhost``, ``password`` is what is answered where it is asked for, and whatever is in capitals goes
into PAM's environment. What PAM has to say is written as it comes; the last line is the result,
0 for a login that is let in. Needs no root: Linux-PAM 1.4 and newer (``pam_start_confdir``).
"""

import ctypes
import sys

PAM_SUCCESS, PAM_CONV_ERR = 0, 19
PAM_PROMPT_ECHO_OFF, PAM_PROMPT_ECHO_ON = 1, 2
ITEMS = {"tty": 3, "rhost": 4}

libpam = ctypes.CDLL("libpam.so.0")
libc = ctypes.CDLL(None)
libc.calloc.restype = ctypes.c_void_p
libc.strdup.restype = ctypes.c_void_p


class Message(ctypes.Structure):
    _fields_ = [("style", ctypes.c_int), ("text", ctypes.c_char_p)]


class Response(ctypes.Structure):
    _fields_ = [("text", ctypes.c_void_p), ("unused", ctypes.c_int)]


CONVERSE = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(Message)),
    ctypes.POINTER(ctypes.POINTER(Response)),
    ctypes.c_void_p,
)


class Conversation(ctypes.Structure):
    _fields_ = [("converse", CONVERSE), ("data", ctypes.c_void_p)]


def show(line):
    """Write a line at once, so that whoever reads can answer while we wait."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def answering(password):
    """Return a conversation that shows what it is told and answers with the password."""

    def converse(count, messages, responses, _data):
        # PAM frees the answers, so that they must come from malloc.
        answers = ctypes.cast(libc.calloc(count, ctypes.sizeof(Response)), ctypes.POINTER(Response))
        for number in range(count):
            message = messages[number].contents
            show(message.text.decode())
            if message.style in {PAM_PROMPT_ECHO_OFF, PAM_PROMPT_ECHO_ON}:
                answers[number].text = libc.strdup(password.encode())
        responses[0] = answers
        return PAM_SUCCESS

    return Conversation(CONVERSE(converse), None)


def log_in(folder, service, user, options):
    """Authenticate, and return PAM's result."""
    conversation = answering(options.pop("password", ""))
    handle = ctypes.c_void_p()
    started = libpam.pam_start_confdir(
        service.encode(),
        user.encode(),
        ctypes.byref(conversation),
        folder.encode(),
        ctypes.byref(handle),
    )
    if started != PAM_SUCCESS:
        return started
    for name, value in options.items():
        if name in ITEMS:
            libpam.pam_set_item(handle, ITEMS[name], ctypes.c_char_p(value.encode()))
        else:
            libpam.pam_putenv(handle, f"{name}={value}".encode())
    result = libpam.pam_authenticate(handle, 0)
    libpam.pam_end(handle, result)
    return result


if __name__ == "__main__":
    folder, service, user, *given = sys.argv[1:]
    result = log_in(folder, service, user, dict(item.split("=", 1) for item in given))
    show(result)
    sys.exit(result != PAM_SUCCESS)
