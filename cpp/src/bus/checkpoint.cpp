#include "klineagg/bus/checkpoint.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "klineagg/error.hpp"

namespace klineagg::bus {
namespace {

constexpr std::size_t SEEN_BYTES = 4096;

/// JSON. Names of publishers are letters, digits, '_' and '-': nothing needs to be escaped.
std::string text_of(const Positions& positions) {
    std::string text = "{";
    for (const auto& [name, next] : positions) {
        if (text.size() > 1) text += ", ";
        text += '"' + name + "\": " + std::to_string(next);
    }
    return text + "}";
}

/// Reads what text_of() writes, with any blanks between.
class Parser {
public:
    explicit Parser(std::string_view text) noexcept : rest_(text) {}

    std::optional<Positions> positions() {
        Positions found;
        if (!skip('{')) return std::nullopt;
        if (!skip('}')) {
            do {
                std::string name;
                std::uint64_t next = 0;
                if (!string(name) || !skip(':') || !number(next)) return std::nullopt;
                found[name] = next;
            } while (skip(','));
            if (!skip('}')) return std::nullopt;
        }
        blanks();
        return rest_.empty() ? std::optional(found) : std::nullopt;
    }

private:
    void blanks() noexcept {
        const std::size_t from = rest_.find_first_not_of(" \t\r\n");
        rest_.remove_prefix(from == std::string_view::npos ? rest_.size() : from);
    }
    bool skip(char wanted) noexcept {
        blanks();
        const bool is_there = rest_.starts_with(wanted);
        rest_.remove_prefix(is_there ? 1 : 0);
        return is_there;
    }
    bool string(std::string& to) {
        if (!skip('"')) return false;
        const std::size_t end = rest_.find('"');
        if (end == std::string_view::npos) return false;
        to = rest_.substr(0, end);
        rest_.remove_prefix(end + 1);
        return std::all_of(to.begin(), to.end(), [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                   c == '_' || c == '-';
        });
    }
    bool number(std::uint64_t& to) noexcept {
        blanks();
        const auto read = std::from_chars(rest_.data(), rest_.data() + rest_.size(), to);
        if (read.ec != std::errc()) return false;
        rest_.remove_prefix(static_cast<std::size_t>(read.ptr - rest_.data()));
        return true;
    }

    std::string_view rest_;
};

/// Nothing when there is no such file.
std::optional<std::string> read_all(const std::string& path) {
    std::error_code error;
    if (!std::filesystem::exists(path, error)) return std::nullopt;
    const auto file = real_files()->open(path, OpenMode::read);
    std::string text(file->size(), '\0');
    text.resize(file->read(0, std::as_writable_bytes(std::span(text))));
    return text;
}

std::string folder_of(const std::string& path) {
    const auto folder = std::filesystem::path(path).parent_path();
    return folder.empty() ? "." : folder.string();
}

}  // namespace

Checkpoint::Checkpoint(std::string path) : path_(std::move(path)) {
    std::error_code error;
    if (const std::string folder = folder_of(path_);
        !std::filesystem::is_directory(folder, error)) {
        throw Error(ErrorCode::file_not_found,
                    "no checkpoint " + path_ + ": there is no folder " + folder,
                    {{"path", path_}});
    }
}

Positions Checkpoint::load() const {
    const auto text = read_all(path_);
    if (!text) return {};
    auto positions = Parser(*text).positions();
    if (!positions)
        throw Error(ErrorCode::file_format, path_ + " is no checkpoint",
                    {{"path", path_},
                     {"hint", "name another file; without this one the subscriber begins anew"}});
    return *std::move(positions);
}

void Checkpoint::save(const Positions& positions) const {
    const std::string draft = path_ + ".new";
    const std::string text = text_of(positions);
    {
        const auto file = real_files()->open(draft, OpenMode::create);
        file->write(0, std::as_bytes(std::span(text)));
        file->sync();
    }
    real_files()->rename(draft, path_);
    real_files()->sync_directory(folder_of(path_));
}

Positions Checkpoint::load_seen() const {
    try {
        const auto text = read_all(path_ + ".seen");
        return text ? Parser(*text).positions().value_or(Positions()) : Positions();
    } catch (const Error&) {
        return {};  // it is only for the marks
    }
}

void Checkpoint::save_seen(const Positions& positions) {
    std::string text = text_of(positions);
    if (text.size() > SEEN_BYTES) return;
    text.resize(SEEN_BYTES, ' ');
    if (!seen_) seen_ = real_files()->open(path_ + ".seen", OpenMode::lock);
    // One page in one call: it is there as a whole or not at all.
    seen_->write(0, std::as_bytes(std::span(text)));
}

}  // namespace klineagg::bus
