"""Images with labels, who is what in an experiment, and batches; through tf.data.

sources    every data set by name; mirflickr, nuswide, cifar, tfds, folder, lists, table, packs,
           arrays read one kind each
source     their one form
images     arrays, or files decoded as they are read
files      files of images: bad ones named or left out
cache      photographs decoded once and kept
label_names  names of classes that are not what was meant
protocols  which rows are labelled, unlabelled, validation, query, database
sampling   draws of rows
splits     a choice of rows: checked, hashed, saved
summary    what a split holds, in numbers
pipeline   batches: stateless for training, padded and masked for evaluation
resident   the same batches from arrays on the devices; shuffle draws their rows
"""
