// The Arrow C data and stream interfaces: the layout of three structs that every Arrow library
// agrees on, and owners that give such a struct back exactly once.
#pragma once

#include <cstdint>
#include <utility>

namespace klineagg::arrow {

inline constexpr std::int64_t FLAG_DICTIONARY_ORDERED = 1;
inline constexpr std::int64_t FLAG_NULLABLE = 2;

// The names of the members are ours; their order and types are the interface.
struct Schema {
    const char* format = nullptr;
    const char* name = nullptr;
    const char* metadata = nullptr;
    std::int64_t flags = 0;
    std::int64_t n_children = 0;
    Schema** children = nullptr;
    Schema* dictionary = nullptr;
    void (*release)(Schema*) = nullptr;
    void* private_data = nullptr;
};

struct Array {
    std::int64_t length = 0;
    std::int64_t null_count = 0;
    std::int64_t offset = 0;
    std::int64_t n_buffers = 0;
    std::int64_t n_children = 0;
    const void** buffers = nullptr;
    Array** children = nullptr;
    Array* dictionary = nullptr;
    void (*release)(Array*) = nullptr;
    void* private_data = nullptr;
};

struct Stream {
    int (*get_schema)(Stream*, Schema*) = nullptr;
    int (*get_next)(Stream*, Array*) = nullptr;
    const char* (*get_last_error)(Stream*) = nullptr;
    void (*release)(Stream*) = nullptr;
    void* private_data = nullptr;
};

// Another layout would make us read a producer's pointers as lengths.
static_assert(sizeof(void*) != 8 || sizeof(Schema) == 72);
static_assert(sizeof(void*) != 8 || sizeof(Array) == 80);
static_assert(sizeof(void*) != 8 || sizeof(Stream) == 40);

/// Owns a struct of the interface. A null `release` marks one that was given away or never filled.
template <typename Struct>
class Owned {
public:
    Owned() = default;
    Owned(Owned&& other) noexcept : value_(std::exchange(other.value_, Struct{})) {}
    Owned& operator=(Owned&& other) noexcept {
        if (this != &other) {
            reset();
            value_ = std::exchange(other.value_, Struct{});
        }
        return *this;
    }
    Owned(const Owned&) = delete;
    Owned& operator=(const Owned&) = delete;
    ~Owned() { reset(); }

    /// Takes over what `source` holds and marks it as given away, as the interface demands.
    static Owned move_from(Struct& source) noexcept {
        Owned owned;
        owned.value_ = std::exchange(source, Struct{});
        return owned;
    }

    void reset() noexcept {
        if (value_.release != nullptr) value_.release(&value_);
        value_ = Struct{};
    }

    [[nodiscard]] bool filled() const noexcept { return value_.release != nullptr; }
    [[nodiscard]] Struct& operator*() noexcept { return value_; }
    [[nodiscard]] const Struct& operator*() const noexcept { return value_; }
    [[nodiscard]] Struct* operator->() noexcept { return &value_; }
    [[nodiscard]] const Struct* operator->() const noexcept { return &value_; }

private:
    Struct value_{};
};

}  // namespace klineagg::arrow
