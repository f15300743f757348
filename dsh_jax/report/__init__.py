"""The HTML page of a run.

document         all of it, in one file
frame            the look of every page
figures          its drawings
tables           its numbers
images           neighbours, reconstructions, augmentations
code_statistics  what the codes look like
other_data       what the run found in another data set
contact_sheet    many images on one
"""
