"""What holds for every test."""

import signal

# A runner in the background starts with Ctrl-C ignored, and so would every child that a test wants to interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
