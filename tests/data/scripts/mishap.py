"""Goes wrong in the way that is asked for."""

import contextlib
import ctypes
import mmap
import os
import subprocess
import sys
import tempfile
import time

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingOutputNumber,
    QgsProcessingParameterString,
)


class Mishap(QgsProcessingAlgorithm):
    def name(self):
        return "mishap"

    def displayName(self):
        return "Mishap"

    def createInstance(self):
        return Mishap()

    def initAlgorithm(self, configuration=None):
        self.addParameter(QgsProcessingParameterString("KIND", "What is to happen"))
        self.addOutput(QgsProcessingOutputNumber("PID", "Process"))

    def processAlgorithm(self, parameters, context, feedback):
        kind = self.parameterAsString(parameters, "KIND", context)
        print(f"about to {kind}")
        getattr(self, kind)(feedback)
        return {"PID": os.getpid()}

    def nothing(self, feedback):
        pass

    def abort(self, feedback):
        os.abort()

    def segfault(self, feedback):
        ctypes.string_at(0)

    def exit(self, feedback):
        sys.exit(3)

    def leave(self, feedback):
        os._exit(4)

    def fail(self, feedback):
        raise QgsProcessingException("the moon is in the way")

    def crash(self, feedback):
        raise RuntimeError("the sun is in the way")

    def shout(self, feedback):
        for _ in range(1000):
            print("x" * 10_239)
        print("the last line")
        os.abort()

    def loop(self, feedback):
        while True:
            time.sleep(0.01)

    def progress(self, feedback):
        for percent in range(0, 100, 5):
            feedback.setProgress(percent)
            feedback.setProgressText(f"at {percent}")
            time.sleep(0.1)

    def spawn(self, feedback):
        subprocess.Popen(["/bin/sleep", "987654"])
        while True:
            time.sleep(0.01)

    def daemon(self, feedback):
        subprocess.Popen(["/bin/sleep", "987655"], start_new_session=True)

    def memory(self, feedback):
        bytearray(10 * 2**30)

    def shared(self, feedback):
        # Which is no process's own.
        block = b"x" * 2**24
        kept = []
        for _ in range(2 * 2**6):
            kept.append(mmap.mmap(-1, 2**24))
            kept[-1].write(block)
        time.sleep(60)

    def file(self, feedback):
        with open("../outputs/large", "wb") as file:
            for _ in range(10 * 2**10):
                file.write(bytes(2**20))

    def fill(self, feedback):
        with open("../outputs/large", "wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    def files(self, feedback):
        block = bytes(2**20)
        for number in range(10 * 2**10):
            with open(f"../outputs/{number}", "wb") as file:
                file.write(block)
            time.sleep(0.005)

    def unlinked(self, feedback):
        with contextlib.ExitStack() as kept:
            for _ in range(10 * 2**10):
                file = kept.enter_context(tempfile.TemporaryFile())
                file.write(bytes(2**22))
                file.flush()
                time.sleep(0.02)

    def deep(self, feedback):
        os.chdir("../outputs")
        for _ in range(5000):
            os.mkdir("d")
            os.chdir("d")
        while True:
            time.sleep(0.01)

    def descriptors(self, feedback):
        [os.pipe() for _ in range(2**20)]

    def time(self, feedback):
        while True:
            pass

    def fork(self, feedback):
        # No bomb: no child has children.
        for _ in range(200):
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
        time.sleep(60)

    def bomb(self, feedback):
        # Only where the kernel has a limit.
        assert os.getuid() != 0
        while True:
            try:
                if os.fork() == 0:
                    os.setsid()
            except OSError:
                # As many as there can be; other tests run beside this one.
                time.sleep(0.05)

    def hidden(self, feedback):
        # As daemons do: no parent, session or group tells whose it is.
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.execl("/bin/sleep", "sleep", "987656")
            os._exit(0)
        os.wait()

    def rabbit(self, feedback):
        # Never more than one, never the same, and nobody's child.
        if os.fork() == 0:
            end = time.monotonic() + 30
            while time.monotonic() < end:
                os.setsid()
                if os.fork():
                    os._exit(0)
            os._exit(0)

    def patient(self, feedback):
        while not feedback.isCanceled():
            time.sleep(0.01)
        print("cancelled in time")
