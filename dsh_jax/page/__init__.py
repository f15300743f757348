"""The page in a browser, and found images as HTML.

server       the socket, and limits to connections
application  what is answered: a file, an image of the index, a cut code
callers      who is answered
document     the page before an image was sent; page.js is its program
lookup       what is shown of one image
elements     its parts, as HTML
code_bar     a code drawn as a bar
code_length  codes cut, and what the cut does to the neighbours
hits         the nearest images of some queries, as HTML and text
thumbnail    small pictures within a page
"""
