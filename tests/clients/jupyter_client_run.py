"""Drives a kernel with PyPI's jupyter_kernel_client: python jkc.py URL TOKEN. Prints one JSON document."""

import json
import sys
import threading
import time

from jupyter_kernel_client import JupyterKernelClient

url, token = sys.argv[1:]
seen = {}
with JupyterKernelClient(server_url=url, token=token) as kernel:
    seen["printed"] = kernel.execute("x = 20\nprint(x + 1)")["outputs"][0]["text"]
    figure = kernel.execute("import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()")
    seen["figure"] = any("image/png" in output.get("data", {}) for output in figure["outputs"])
    seen["error"] = kernel.execute("1/0")["status"]

    def interrupt() -> None:
        time.sleep(0.5)
        kernel.interrupt()

    thread = threading.Thread(target=interrupt)
    thread.start()
    seen["interrupted"] = kernel.execute("import time\nwhile True: time.sleep(0.01)")["outputs"][-1]["ename"]
    thread.join()
    kernel.restart()
    seen["restarted"] = kernel.execute("print('x' in globals())")["outputs"][0]["text"]
    seen["alive"] = kernel.is_alive()
    seen["listed"] = kernel.id in [model["id"] for model in kernel.list_kernels()]
print(json.dumps(seen))
