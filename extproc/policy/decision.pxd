# C types of decision.py where it is compiled (setup.py).

cimport cython
from extproc.bodies.request cimport InferenceRequest
from extproc.headers cimport Headers
from extproc.policy.sticky_key cimport sticky_key
from extproc.policy.target_choice cimport choose_target

cdef class Decision:
    cdef readonly InferenceRequest request
    cdef readonly object policy
    cdef readonly str architecture, cohort, endpoint, model_rewrite, pattern, pool, user, version

    @cython.locals(request=InferenceRequest)
    cpdef tuple identity(self)

cpdef Decision decide(InferenceRequest request, Headers headers, object snapshot, bytes entropy, str body_key=*, object free_shares=*, bint stateful=*, frozenset down=*)
cdef tuple _choose_version(object policy, InferenceRequest request, Headers headers, bytes sticky, bytes entropy)
cpdef object architecture_of(object policy, object snapshot, object target)
