"""Measures a worker against a real Kafka, beside baselines in the same run.

cores       which processes run where
pipelines   what is measured
models      models of the size that benchmarks name, made once
alerting    how much of a load alerts
load        events and labels, written before or while a worker reads
subject     a process under measurement: a worker, or a baseline
scenarios   a pipeline with its model
ground      topics, files and processes of a run
throughput  outputs a second, sampled from the ends of the output's log
batches     record batches by their headers: records, markers, times
latency     from the append of an input record to the append of its output
arrivals    when a reader of committed records has it
paced       one run at a steady pace
markers     commit markers a second, and what they hold up
delivery    exactly once beside at least once
spread      repeated figures and their ratio to the baseline's
turns       ways of doing the same, in turns
session     joins these: prepared loads, runs, figures
measuring   which session measures what was asked for
"""
