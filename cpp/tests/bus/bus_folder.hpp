// A bus of its own for each test, gone afterwards.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "klineagg/bus/record_type.hpp"
#include "klineagg/bus/topic.hpp"

namespace klineagg::bus::test {

class TestFolder {
public:
    TestFolder() {
        static std::atomic<int> number{0};
        path_ = Folder::default_path() + "-test-" + std::to_string(getpid()) + "-" +
                std::to_string(number.fetch_add(1));
    }
    ~TestFolder() {
        std::error_code error;
        std::filesystem::remove_all(path_, error);
    }
    TestFolder(const TestFolder&) = delete;
    TestFolder& operator=(const TestFolder&) = delete;

    [[nodiscard]] Folder folder() const { return Folder(path_); }
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    std::string path_;
};

/// Every word says which message it belongs to.
struct Checked {
    MessageHeader header;
    std::uint64_t value[12] = {};

    static Checked of(std::uint64_t seed) {
        Checked record;
        for (std::uint64_t i = 0; i < 12; ++i) record.value[i] = (seed + i) * 0x9e3779b97f4a7c15u;
        return record;
    }
    [[nodiscard]] bool is(std::uint64_t seed) const {
        for (std::uint64_t i = 0; i < 12; ++i) {
            if (value[i] != (seed + i) * 0x9e3779b97f4a7c15u) return false;
        }
        return true;
    }
    [[nodiscard]] bool is_own() const { return is(header.sequence); }
};
static_assert(IsRecord<Checked> && sizeof(Checked) == 128);

inline const RecordType& checked_type() {
    static const RecordType type("Checked", 1, sizeof(Checked), {{"value", 'u', 8, 12, 32}});
    return type;
}

/// The ring of a Checked topic with room for `records`.
inline std::size_t checked_bytes(std::size_t records) { return records * sizeof(Checked); }

}  // namespace klineagg::bus::test
