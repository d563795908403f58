"""Readers of public data sets: which image, good or defective, with which mask; or what is asked about it.

base         one image with its label; a data set with its faults
folders      layouts with a folder a category and a folder a defect type: MVTec AD, MPDD, BTAD, GoodsAD, VisA, LOCO
listed       layouts with a list of images: raw VisA, Real-IAD, manifest.csv
kolektor     KolektorSDD and KolektorSDD2
mmad         multiple-choice questions in the layout of MMAD
registry     data sets by name, and which layout a folder has
"""
