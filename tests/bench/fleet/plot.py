"""Draws the times of nothing.py against the number of hosts: plot.py MEASURED.json IMAGE.svg"""

import importlib
import json
import statistics
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
# The same times give the same file, and its words stay words.
mpl.rcParams.update({"svg.hashsalt": "llmops.nim", "svg.fonttype": "none"})

pyplot = importlib.import_module("matplotlib.pyplot")  # after the choice of what it draws with


def main():
    times, image = json.loads(Path(sys.argv[1]).read_text())["nothing"]["found"]["seconds"], sys.argv[2]
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for way, by_size in times.items():
        axes.plot(list(map(int, by_size)), list(map(statistics.median, by_size.values())), marker="o", label=way)
    axes.set(xlabel="hosts", ylabel="seconds", ylim=(0, None), title="A run that changes nothing")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    Path(image).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(image, metadata={"Date": None})


if __name__ == "__main__":
    main()
