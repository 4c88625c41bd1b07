"""Goes wrong in the way that is asked for."""

import ctypes
import os
import subprocess
import sys
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

    def patient(self, feedback):
        while not feedback.isCanceled():
            time.sleep(0.01)
        print("cancelled in time")
