#include "klineagg/engine/kept_rows.hpp"

#include <cmath>
#include <utility>

namespace klineagg::engine {

namespace {

/// The part of a run of flat bars that lies in [from, to): their spans are alike, or the run is
/// one whose bars differ, and then the number is what is left of it by time.
BarRow part_of(const BarRow& run, TimeNs from, TimeNs to) {
    BarRow part = run;
    part.open_time = from;
    part.close_time = to;
    const double share = static_cast<double>(to - from) /
                         static_cast<double>(run.close_time - run.open_time);
    const auto bars = static_cast<std::int32_t>(std::lround(share * run.run_length));
    part.run_length = bars < 1 ? 1 : bars;
    return part;
}

}  // namespace

KeptRows::KeptRows(std::size_t outputs, std::size_t count) : count_(count) {
    if (count == 0) return;
    rings_.resize(outputs);
    for (Ring& ring : rings_) ring.rows = std::make_unique_for_overwrite<BarRow[]>(count);
}

KeptRows KeptRows::grown(std::size_t outputs) const {
    KeptRows next(outputs, count_);
    for (std::size_t output = 0; output < rings_.size() && output < outputs; ++output)
        each(output, [&](const BarRow& row) { next.push(next.rings_[output], row); });
    return next;
}

void KeptRows::erase(Ring& ring, std::size_t index) noexcept {
    for (std::size_t i = index; i + 1 < ring.size; ++i) at(ring, i) = at(ring, i + 1);
    --ring.size;
}

std::size_t KeptRows::insert(Ring& ring, std::size_t index, const BarRow& row) noexcept {
    if (ring.size == count_) {
        if (index == 0) return 0;  // older than all that is kept
        for (std::size_t i = 0; i + 1 < index; ++i) at(ring, i) = at(ring, i + 1);
        at(ring, --index) = row;
        return index;
    }
    ++ring.size;
    for (std::size_t i = ring.size - 1; i > index; --i) at(ring, i) = at(ring, i - 1);
    at(ring, index) = row;
    return index;
}

void KeptRows::replace(Ring& ring, const BarRow& row) noexcept {
    std::size_t index = ring.size;  // of the first row that ends behind the new one's beginning
    while (index > 0 && at(ring, index - 1).close_time > row.open_time) --index;
    while (index < ring.size && at(ring, index).open_time < row.close_time) {
        const BarRow old = at(ring, index);
        erase(ring, index);
        // Of a run that it cuts, the rest stays.
        if (old.open_time < row.open_time)
            index = insert(ring, index, part_of(old, old.open_time, row.open_time)) + 1;
        if (old.close_time > row.close_time)
            index = insert(ring, index, part_of(old, row.close_time, old.close_time));
    }
    (void)insert(ring, index, row);
}

}  // namespace klineagg::engine
