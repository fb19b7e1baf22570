// One block of zeroed memory from the operating system, in huge pages where there are any.
#pragma once

#include <cstddef>

namespace klineagg {

/// Pages are given when first touched, so memory that is never written costs nothing.
class Arena {
public:
    Arena() = default;
    /// Throws std::bad_alloc.
    explicit Arena(std::size_t bytes);
    ~Arena();
    Arena(Arena&& other) noexcept;
    Arena& operator=(Arena&& other) noexcept;
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;

    [[nodiscard]] std::byte* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

private:
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace klineagg
