"""A production line: cameras in, decisions out, drift seen.

settings   line.toml, checked strictly; credentials come from files and the environment
frames     one picture of a camera; the form of a source; regions and turns
stream     video files, USB and RTSP cameras, streams over HTTP
snapshot   one picture a request over HTTP
folder     pictures that a camera drops into a folder
genicam    industrial cameras through harvesters
capture    the thread that reads a source: reconnects, counts what was dropped
motion     when a part has come to rest
triggers   which frames are inspected
listener   triggers by MQTT
parts      inspecting in a process of its own, and what is measured for drift
message    what a line tells, as one typed message
sinks      the form of a sink, and which there are: mqtt, webhook, opcua, jsonl
delivery   the thread that brings one sink its messages, in order, until it has them
drift      the sequential test
quantities what is measured on each part, and on the good parts of the profile
watch      drift of a line: alarms with pictures and a proposal
telling    messages into the outbox, and the line's own tally
runner     the whole line
status     state, metrics and triggers over HTTP
check      tries everything that a line needs
"""
