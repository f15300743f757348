"""From a config to a folder of results.

train           the loop: steps, validation, checkpoints
evaluate        a run's folder to its results
evaluated       the evaluation of a folder, read again
gallery         what it retrieved and rebuilt, as pictures for its report
sheet           the same of its last evaluation, as one picture
reconstruction  images as the decoder rebuilds them, and by which state
shallow         runs of methods that fit features
scalable        DRSCH's codes cut
cross_domain    a run on another data set
population      runs that differ in scalars, in one program
point           one of them
exported        a run as one folder that needs nothing else: `dsh_jax.load`
"""
