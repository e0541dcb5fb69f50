"""Serve a GGUF file by llama.cpp on a loopback port, until killed: `python serve_llama_cpp.py FILE PORT CONTEXT`."""

import sys
import threading

import xllamacpp

parameters = xllamacpp.CommonParams()
parameters.model.path = sys.argv[1]
parameters.port = int(sys.argv[2])
parameters.n_ctx = int(sys.argv[3])
parameters.n_parallel = 1
parameters.warmup = False
for threads in (parameters.cpuparams, parameters.cpuparams_batch):
    threads.n_threads = 1  # more spin against each other
server = xllamacpp.Server(parameters)
threading.Event().wait()
