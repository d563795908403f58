"""The benchmark: many questions or images under one setting, kept record by record, compared with intervals.

setting       what is varied; a run has one
plan          which questions are pending: keys over content, one unit of work an image
record_log    records on disk: appended whole, resumed after any kill
features      image features and single-reference banks on disk, shared by all settings
solver        answers the questions of one image under any settings
pool          units to workers: here, in other processes; ray_pool: on other machines
runner        plan, drive, write, tell the progress
"""
