"""A notebook run without Jupyter: `python tests/support/notebook.py docs/first_steps.ipynb` writes
its outputs anew."""

import ast
import base64
import contextlib
import io
import json
import pathlib
import sys


def run(path):
    """Return (notebook, outputs of each cell of code) of running it from top to bottom."""
    notebook = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    names, found = {"__name__": "notebook"}, []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            found.append(outputs("".join(cell["source"]), names))
    return notebook, found


def outputs(source, names):
    """Return what a cell prints, and its last expression where that is a picture of Pillow."""
    tree, printed, shown = ast.parse(source), io.StringIO(), None
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "cell", "exec"), names)
        if last is not None:
            shown = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    found = []
    if printed.getvalue():
        lines = printed.getvalue().splitlines(keepends=True)
        found.append({"output_type": "stream", "name": "stdout", "text": lines})
    if shown is not None:
        data = io.BytesIO()
        shown.convert("L").quantize(16).save(data, "PNG", optimize=True)
        picture = {"image/png": base64.b64encode(data.getvalue()).decode()}
        found.append({"output_type": "display_data", "metadata": {}, "data": picture})
    return found


def write(path):
    """Write a notebook with its outputs."""
    notebook, found = run(path)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for count, (cell, one) in enumerate(zip(code, found, strict=True), start=1):
        cell["outputs"], cell["execution_count"] = one, count
    text = json.dumps(notebook, indent=1, ensure_ascii=False)
    pathlib.Path(path).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(sys.argv[1])
