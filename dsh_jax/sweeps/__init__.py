"""Many runs, and the tables that they make.

sweep       a sweep's points: the overrides of its runs
run_table   what came of them
comparison  tables beside the paper's
printed     the paper's numbers
ablation    what each term of few labels adds
"""
