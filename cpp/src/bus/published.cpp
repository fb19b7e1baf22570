#include "klineagg/bus/published.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "klineagg/bar.hpp"
#include "klineagg/error.hpp"

namespace klineagg::bus {

FeedOrigin::FeedOrigin(std::string root, std::string log)
    : path_((std::filesystem::path(std::move(root)) / "engine-log").string()),
      log_(std::move(log)) {
    std::ifstream file(path_);
    std::string before;
    is_same_ = static_cast<bool>(file >> before) && before == log_;
    std::string name;
    std::uint64_t first = 0;
    while (is_same_ && file >> name >> first) firsts_[name] = first;
}

std::uint64_t FeedOrigin::first(const std::string& name, std::uint64_t next) {
    return firsts_.try_emplace(name, is_same_ ? 1 : next).first->second;
}

void FeedOrigin::save() const {
    const std::string draft = path_ + ".new";
    {
        std::ofstream file(draft, std::ios::trunc);
        file << log_ << '\n';
        for (const auto& [name, first] : firsts_) file << name << ' ' << first << '\n';
        if (!file.flush())
            throw Error(ErrorCode::bus_unavailable, "cannot write " + draft, {{"path", draft}});
    }
    std::error_code error;
    std::filesystem::rename(draft, path_, error);
    if (error) throw Error(ErrorCode::bus_unavailable, "cannot write " + path_, {{"path", path_}});
}

void Published::add(const TradeEvent& event) {
    const std::uint64_t origin = origin_of(event.origin);
    if (!is_replayed(origin)) return;
    Last& last = trades_[std::string(name_of(event.instrument))];
    if (last.position != origin) last = {origin, 0};
    ++last.count;
}

void Published::add(const Bar& bar) {
    // An open bar is a state, which nobody misses when it is not told again.
    if (is_replayed(origin_of(bar.origin)) && (bar.flags & BAR_CLOSED) != 0)
        bars_.insert(key_of(bar));
}

std::size_t Published::skip_trades(std::string_view instrument, std::uint64_t position,
                                   std::size_t count) {
    const auto place = trades_.find(std::string(instrument));
    if (place == trades_.end() || position > place->second.position) return 0;
    if (position < place->second.position) return count;
    const std::size_t skipped = std::min(count, place->second.count);
    place->second.count -= skipped;
    return skipped;
}

std::string Published::key_of(const Bar& bar) {
    std::string key(sizeof bar.instrument + sizeof bar.interval + sizeof bar.open_time +
                        sizeof bar.revision,
                    '\0');
    char* to = key.data();
    const auto put = [&](const void* from, std::size_t bytes) {
        std::memcpy(to, from, bytes);
        to += bytes;
    };
    put(bar.instrument, sizeof bar.instrument);
    put(bar.interval, sizeof bar.interval);
    put(&bar.open_time, sizeof bar.open_time);
    put(&bar.revision, sizeof bar.revision);
    return key;
}

}  // namespace klineagg::bus
