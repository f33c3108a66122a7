"""Somebody at a terminal of whom `yett password hash` asks a password, who types it or sends a signal in its place. Tells whether the
terminal hid what was typed, and whether it no longer does."""

import os
import pty
import signal
import subprocess
import sys
import termios

program, ends = sys.argv[1:]
ours, theirs = pty.openpty()


def shows():
    return bool(termios.tcgetattr(theirs)[3] & termios.ECHO)


asked = subprocess.Popen([program, "password", "hash"], stdin=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
prompt = b""
while b"password:" not in prompt:
    prompt += asked.stderr.read(1)
hidden = not shows()
if ends == "typed":
    os.write(ours, b"correct horse battery\n")
else:
    # It goes on as if nothing were.
    asked.send_signal(signal.SIGTSTP)
    asked.send_signal(getattr(signal, "SIG" + ends))
code = asked.wait()
print(f"ended {code}, hidden {hidden}, shown again {shows()}", flush=True)
sys.stdin.readline()
