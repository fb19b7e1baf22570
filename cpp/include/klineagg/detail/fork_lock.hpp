// Locks of the whole process, and fork(): a child has none of the threads that may hold one.
#pragma once

#include <pthread.h>

#include <memory>

namespace klineagg::detail {

/// From now on fork() waits until the lock is free, so that what it guards is whole in the child,
/// and the child's is free. Without, a child whose parent's other threads were at work waits for
/// one of them, which it does not have, for ever.
///
/// `Lock` gives the lock, the same at every call. A lock is not to be held while another of them
/// is taken: fork() takes all, in no order that anybody knows.
template <auto Lock>
[[nodiscard]] bool free_in_children() noexcept {
    return pthread_atfork([] { Lock().lock(); }, [] { Lock().unlock(); },
                          // Made anew: a shared lock is not the child's to unlock, whose thread
                          // has another number than the one that locked it.
                          [] { std::construct_at(&Lock()); }) == 0;
}

}  // namespace klineagg::detail
