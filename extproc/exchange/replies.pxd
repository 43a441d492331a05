# Types in C for replies.py, where it is compiled (setup.py).

from extproc.headers cimport Headers
from extproc.policy.decision cimport Decision

cpdef tuple client_copies(Headers headers, object overwritten=*)
cpdef object routing_mutation(Decision decision, Headers headers, object rename)
cpdef object own_mutation(object shared, tuple headers, str endpoints)
cpdef object mutation_of(Decision decision)
