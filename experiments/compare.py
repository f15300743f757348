"""Show runs side by side: what sets them apart, paired intervals, curves, where they disagree.

python -m experiments.compare runs/mnist-48 runs/mnist-dpsh runs/mnist-csq --out=compare.html

Runs must have been evaluated on the same queries. The first is the one that all others are compared
with, query by query. --queries=0 leaves the images out, which are read from the first run's data.
"""

from absl import flags

from dsh_jax.runs import compare
from experiments import console

_OUT = flags.DEFINE_string("out", "compare.html", "Page to write.")
_QUERIES = flags.DEFINE_integer("queries", 8, "Queries to show with images.", lower_bound=0)


def main(argv):
    console.quiet()
    with console.clear_errors():
        print(compare.write_page(argv[1:], _OUT.value, queries=_QUERIES.value))


if __name__ == "__main__":
    console.run(main)
