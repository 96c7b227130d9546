"""DRUM's step on a CPU: the loss of each example with its gradient, and the scores of a query.

An example is a walk of T steps that starts at one entity and should end at another. Its states are made, used backward
and forgotten before the next example begins, so that memory does not grow with the batch, the relations or the
edges: two numbers an entity, component and step. States hold the entities that were reached, not all. Normalising
each step is the same as normalising once at the end; the last step is needed only at the answer (and, summed over all
entities, as one number an entity and query). The example's own edge is passed over in every step, which is exact.

Examples of one query are walked in their order, queries each by one thread: nothing depends on the number of threads.
All arithmetic is in float64. Plain twin: tests/reference/drum.py. Source: Sadeghian et al. 2019, "DRUM".
"""
