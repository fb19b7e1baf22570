// While somebody waits for a cut.
#pragma once

#include "klineagg/engine/core.hpp"

namespace klineagg::engine {

/// Workers that wait for readers of their logs go on meanwhile: the reader may be who waits.
class CutWait {
public:
    explicit CutWait(Core& core) : core_(&core) { core_->cuts_waited_for.fetch_add(1); }
    ~CutWait() { core_->cuts_waited_for.fetch_sub(1); }
    CutWait(const CutWait&) = delete;
    CutWait& operator=(const CutWait&) = delete;

private:
    Core* core_;
};

}  // namespace klineagg::engine
