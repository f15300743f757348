"""From images or codes to numbers.

encode      rows of a data set to codes
views       several views of an image, averaged before a bit is read
results     codes to every number, their names, their table
by_class    the mAP of the queries of each class
confusion   which classes a query's neighbours are taken for
code_files  codes that people hold, from files
code_set    their checks
"""
