"""Indexes of large collections, in the order of exact search.

faiss_index   codes in FAISS
faiss_file    its file, kept in step with the codes
milvus_index  a collection of Milvus, kept in step with the codes
tables        hash tables of codes: lookup, multi-index and locality-sensitive hashing
cost          what each way to search costs and finds
npy_rows      codes as a plain array, their names beside it
parquet_rows  codes as rows of a file, for tables and imports
"""
