"""The page in a browser, and found images as HTML.

server       by Gradio: a file is dropped, its code and neighbours are shown
lookup       what is shown of one image
elements     its parts, as HTML
code_bar     a code drawn as a bar
code_length  codes cut, and what the cut does to the neighbours
hits         the nearest images of some queries, as HTML and text
thumbnail    small pictures within a page
"""
