"""What other processes do in the tests of models that are built once a machine."""

import os
import signal
import time

from mpn.data.model_folders import built_once


def build(final, barrier, origin=None, dies=False):
    """Ask for a model folder when the others do; each build leaves a line in ``builds``."""

    def slowly():
        with (final.parent.parent / "builds").open("a") as file:
            file.write(f"{os.getpid()}\n")
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.3)  # as long as the others need to get here
        final.mkdir()
        (final / "model").write_text("built")
        return final

    barrier.wait(60)
    assert built_once(final, slowly, origin=origin) == final
    assert (final / "model").is_file()
