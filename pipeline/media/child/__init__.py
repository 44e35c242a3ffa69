"""Code that opens untrusted media. It runs in child processes only.

Product code never imports from here; `lint-imports` checks that. `pipeline.media.launcher` starts
`launch`, which forks a process for each file. The jobs are `decode`, `mux`, `derive` and `inspect`.
"""
