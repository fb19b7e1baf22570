#include "klineagg/bus/delayed.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "klineagg/error.hpp"

namespace klineagg::bus {
namespace {

constexpr std::size_t SCRATCH_RECORDS = 1024;

}  // namespace

Delayed::Delayed(Subscriber& subscriber, DelayedOptions options)
    : subscriber_(subscriber), options_(std::move(options)) {
    if (options_.batch_size == 0 || options_.interval < 0) {
        throw Error(ErrorCode::invalid_option,
                    "a batch has at least one record, an interval is not negative");
    }
    if (options_.key.empty()) return;
    key_ = subscriber_.type().find(options_.key);
    if (key_ == nullptr) {
        throw Error(ErrorCode::record_mismatch,
                    subscriber_.type().name() + " has no field " + options_.key,
                    {{"field", options_.key}});
    }
}

bool Delayed::is_due(engine::MonotonicNs now) const noexcept {
    return size() >= options_.batch_size || (!batch_.empty() && now >= due_);
}

void Delayed::clear() noexcept {
    batch_.clear();
    places_.clear();
    due_ = engine::NO_DEADLINE;
    is_handed_out_ = false;
}

bool Delayed::next(engine::MonotonicNs deadline) {
    if (is_handed_out_) clear();
    const bool is_there =
        stop_.wait(deadline, [this](engine::MonotonicNs step) { return collect(step); });
    is_handed_out_ = is_there;
    return is_there;
}

void Delayed::conflate(const std::byte* records, std::size_t count) {
    const std::size_t bytes = subscriber_.type().bytes();
    for (std::size_t i = 0; i < count; ++i) {
        const std::byte* const record = records + i * bytes;
        const std::string value(reinterpret_cast<const char*>(record + key_->offset),
                                std::size_t{key_->bytes} * key_->count);
        const auto [place, is_new] = places_.try_emplace(value, batch_.size());
        if (is_new) {
            batch_.insert(batch_.end(), record, record + bytes);
        } else {
            std::memcpy(batch_.data() + place->second, record, bytes);
            ++conflated_;
        }
    }
}

std::size_t Delayed::take() {
    const std::size_t bytes = subscriber_.type().bytes();
    // With keys, no more than there is room for if each has a new one.
    const std::size_t room = std::min(options_.batch_size - size(), SCRATCH_RECORDS);
    if (key_ != nullptr) {
        scratch_.resize(room * bytes);
        const std::size_t count = subscriber_.receive(scratch_.data(), room);
        conflate(scratch_.data(), count);
        return count;
    }
    const std::size_t before = batch_.size();
    batch_.resize(before + room * bytes);
    const std::size_t count = subscriber_.receive(batch_.data() + before, room);
    batch_.resize(before + count * bytes);
    return count;
}

bool Delayed::collect(engine::MonotonicNs deadline) {
    if (is_handed_out_) clear();
    while (true) {
        const engine::MonotonicNs now = engine::monotonic_ns();
        if (is_due(now)) return true;
        if (take() != 0) {
            if (due_ == engine::NO_DEADLINE) due_ = engine::deadline_after(options_.interval);
            continue;
        }
        if (now >= deadline) return false;
        subscriber_.wait(std::min(deadline, due_));
    }
}

}  // namespace klineagg::bus
