"""Codes of people's own image files.

encoder        a trained network as a user has it: images in, codes out, neighbours found
fingerprint    the name of a model
file_names     which files are meant
image_codes    the file of their codes
encode_files   any number of files, in bounded memory
file_state     how it is told that a file was replaced
changed_files  which were replaced or have vanished since
annotation     codes in images, as XMP
"""
