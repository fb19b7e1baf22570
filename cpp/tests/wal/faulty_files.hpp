// Files in memory that fail when they are told to, and forget what was not synced.
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "klineagg/error.hpp"
#include "klineagg/file.hpp"

namespace klineagg {

/// What becomes of unsynced bytes in a power cut.
enum class Cut { lose_all, keep_all, any };

class FaultyFiles final : public FileSystem {
public:
    static constexpr std::size_t SECTOR = 512;

    struct Write {
        std::uint64_t offset;
        std::vector<std::byte> bytes;
    };
    struct Node {
        std::vector<std::byte> now;     // what is read
        std::vector<std::byte> synced;  // what is on the disk
        std::vector<Write> pending;     // written since
        bool locked = false;
    };
    using Names = std::map<std::string, std::shared_ptr<Node>>;

    enum class Fault { none, io_error, no_space, short_write };

    // --- Faults ---

    /// The `call`-th call from now on fails (0: the next one); all behind it too, with `forever`.
    void fail_at(std::uint64_t call, Fault fault, bool forever) {
        const std::lock_guard guard(mutex_);
        fail_call_ = calls_ + call;
        fault_ = fault;
        forever_ = forever;
        failed_ = 0;
    }
    void heal() {
        const std::lock_guard guard(mutex_);
        fault_ = Fault::none;
    }
    [[nodiscard]] std::uint64_t calls() const {
        const std::lock_guard guard(mutex_);
        return calls_;
    }
    [[nodiscard]] std::uint64_t failed() const {
        const std::lock_guard guard(mutex_);
        return failed_;
    }
    [[nodiscard]] std::uint64_t syncs() const {
        const std::lock_guard guard(mutex_);
        return syncs_;
    }

    /// A disk that takes its time: syncs begin, and end when they are let go on.
    void hold_syncs(bool hold) {
        holds_syncs_.store(hold);
        holds_syncs_.notify_all();
    }
    /// Syncs that began and are held.
    [[nodiscard]] int held_syncs() const { return held_syncs_.load(); }

    /// The machine stops and starts again. Files that are open go on with nobody's bytes.
    void power_cut(Cut cut, std::uint64_t seed) {
        const std::lock_guard guard(mutex_);
        std::mt19937_64 random(seed);
        // Changes of names are in a journal: a first part of them is on the disk.
        std::size_t kept = cut == Cut::keep_all ? steps_.size() : 0;
        if (cut == Cut::any && !steps_.empty()) kept = random() % (steps_.size() + 1);
        Names names = kept == 0 ? synced_names_ : steps_[kept - 1];
        for (auto& [name, node] : names) {
            auto fresh = std::make_shared<Node>();
            fresh->now = survivors(*node, cut, random);
            fresh->synced = fresh->now;
            node = fresh;
        }
        names_ = names;
        synced_names_ = names;
        steps_.clear();
        ++boots_;
    }
    /// As a killed process leaves them: everything written is there, and no lock.
    void kill() {
        const std::lock_guard guard(mutex_);
        for (auto& [name, node] : names_) node->locked = false;
    }
    /// The bytes of a file, to be looked at or spoiled.
    std::vector<std::byte>& bytes_of(const std::string& path) { return names_.at(path)->now; }
    /// A copy that shares nothing with this one.
    [[nodiscard]] std::shared_ptr<FaultyFiles> clone() const {
        const std::lock_guard guard(mutex_);
        auto copy = std::make_shared<FaultyFiles>();
        std::map<const Node*, std::shared_ptr<Node>> nodes;
        const auto copied = [&](const Names& names) {
            Names result;
            for (const auto& [name, node] : names) {
                auto& fresh = nodes[node.get()];
                if (fresh == nullptr) {
                    fresh = std::make_shared<Node>(*node);
                    fresh->locked = false;
                }
                result[name] = fresh;
            }
            return result;
        };
        copy->names_ = copied(names_);
        copy->synced_names_ = copied(synced_names_);
        for (const Names& step : steps_) copy->steps_.push_back(copied(step));
        copy->boots_ = boots_;
        return copy;
    }

    // --- FileSystem ---

    std::unique_ptr<File> open(const std::string& path, OpenMode mode) override {
        const std::lock_guard guard(mutex_);
        check("open", path);
        const auto found = names_.find(path);
        if (mode == OpenMode::create || (mode == OpenMode::lock && found == names_.end())) {
            names_[path] = std::make_shared<Node>();
            steps_.push_back(names_);
        } else if (found == names_.end()) {
            fail("open", path, ENOENT);
        }
        return std::make_unique<Handle>(*this, path, names_[path]);
    }
    void rename(const std::string& from, const std::string& to) override {
        const std::lock_guard guard(mutex_);
        check("rename", to);
        names_[to] = names_.at(from);
        names_.erase(from);
        steps_.push_back(names_);
    }
    void remove(const std::string& path) override {
        const std::lock_guard guard(mutex_);
        check("remove", path);
        if (names_.erase(path) == 0) fail("remove", path, ENOENT);
        steps_.push_back(names_);
    }
    void make_directory(const std::string&) override {}
    std::vector<std::string> list(const std::string& directory) override {
        const std::lock_guard guard(mutex_);
        check("list", directory);
        std::vector<std::string> found;
        for (const auto& [name, node] : names_)
            if (name.starts_with(directory + "/"))
                found.push_back(name.substr(directory.size() + 1));
        return found;
    }
    void sync_directory(const std::string& directory) override {
        const std::lock_guard guard(mutex_);
        check("fsync", directory);
        synced_names_ = names_;
        steps_.clear();
    }
    std::string boot_id() override {
        const std::lock_guard guard(mutex_);
        return "boot-" + std::to_string(boots_);
    }

private:
    class Handle final : public File {
    public:
        Handle(FaultyFiles& files, std::string path, std::shared_ptr<Node> node)
            : files_(&files), path_(std::move(path)), node_(std::move(node)) {}
        ~Handle() override {
            const std::lock_guard guard(files_->mutex_);
            if (locks_) node_->locked = false;
        }

        std::size_t read(std::uint64_t offset, std::span<std::byte> to) override {
            const std::lock_guard guard(files_->mutex_);
            files_->check("read", path_);
            if (offset >= node_->now.size()) return 0;
            const std::size_t count = std::min<std::size_t>(
                to.size(), node_->now.size() - static_cast<std::size_t>(offset));
            std::memcpy(to.data(), node_->now.data() + offset, count);
            return count;
        }
        void write(std::uint64_t offset, Bytes from) override {
            const std::lock_guard guard(files_->mutex_);
            const Fault fault = files_->step();
            // Either way a part of it may have been written.
            if (fault == Fault::short_write) put(offset, from.first(from.size() / 2));
            if (fault != Fault::none) fail("write", path_, fault == Fault::io_error ? EIO : ENOSPC);
            put(offset, from);
        }
        void allocate(std::uint64_t bytes) override {
            const std::lock_guard guard(files_->mutex_);
            files_->check("fallocate", path_);
            if (node_->now.size() < bytes) node_->now.resize(static_cast<std::size_t>(bytes));
        }
        void truncate(std::uint64_t bytes) override {
            const std::lock_guard guard(files_->mutex_);
            files_->check("truncate", path_);
            node_->now.resize(static_cast<std::size_t>(bytes));
        }
        void sync() override {
            ++files_->held_syncs_;
            files_->holds_syncs_.wait(true);
            --files_->held_syncs_;
            const std::lock_guard guard(files_->mutex_);
            ++files_->syncs_;
            if (files_->step() != Fault::none) {
                // As Linux does: the pages are clean now, and no later sync writes them.
                node_->pending.clear();
                fail("fdatasync", path_, EIO);
            }
            node_->synced.resize(node_->now.size());
            for (const Write& each : node_->pending) apply(each, node_->synced);
            node_->pending.clear();
        }
        std::uint64_t size() override {
            const std::lock_guard guard(files_->mutex_);
            return node_->now.size();
        }
        bool try_lock() override {
            const std::lock_guard guard(files_->mutex_);
            if (node_->locked) return false;
            locks_ = node_->locked = true;
            return true;
        }

    private:
        void put(std::uint64_t offset, Bytes from) {
            Write write{offset, {from.begin(), from.end()}};
            if (node_->now.size() < offset + from.size())
                node_->now.resize(static_cast<std::size_t>(offset) + from.size());
            apply(write, node_->now);
            node_->pending.push_back(std::move(write));
        }

        FaultyFiles* files_;
        std::string path_;
        std::shared_ptr<Node> node_;
        bool locks_ = false;
    };

    [[noreturn]] static void fail(const char* call, const std::string& path, int number) {
        throw Error(ErrorCode::wal_io, path + ": " + call + " failed",
                    {{"call", call}, {"path", path}, {"errno", std::to_string(number)}});
    }
    static void apply(const Write& write, std::vector<std::byte>& to) {
        if (write.offset >= to.size()) return;
        const std::size_t count =
            std::min(write.bytes.size(), to.size() - static_cast<std::size_t>(write.offset));
        std::memcpy(to.data() + write.offset, write.bytes.data(), count);
    }
    /// What of a file is on the disk after a power cut: each sector of each write, or not, in any
    /// order.
    static std::vector<std::byte> survivors(const Node& node, Cut cut, std::mt19937_64& random) {
        if (cut == Cut::keep_all) return node.now;
        std::vector<std::byte> result = node.synced;
        if (cut == Cut::lose_all) return result;
        const bool new_size = random() % 2 == 0;
        if (new_size) result.resize(node.now.size());
        std::vector<Write> sectors;
        for (const Write& write : node.pending) {
            for (std::size_t at = 0; at < write.bytes.size();) {
                const std::size_t end = std::min<std::size_t>(
                    write.bytes.size(), at + SECTOR - (write.offset + at) % SECTOR);
                sectors.push_back({write.offset + at,
                                   {write.bytes.begin() + static_cast<std::ptrdiff_t>(at),
                                    write.bytes.begin() + static_cast<std::ptrdiff_t>(end)}});
                at = end;
            }
        }
        // Of each sector one state between the synced one and the last, as a whole: a later write
        // of it holds what the earlier ones put there.
        std::map<std::uint64_t, std::vector<const Write*>> by_sector;
        for (const Write& each : sectors) by_sector[each.offset / SECTOR].push_back(&each);
        const std::uint64_t style = random() % 3;
        const std::uint64_t limit = random() % (by_sector.size() + 1);
        std::uint64_t index = 0;
        for (const auto& [sector, writes] : by_sector) {
            std::size_t kept = random() % (writes.size() + 1);
            if (style == 0) kept = index < limit ? writes.size() : 0;  // a first part
            if (style == 1 && kept != 0) kept = writes.size();
            for (std::size_t i = 0; i < kept; ++i) apply(*writes[i], result);
            ++index;
        }
        return result;
    }
    Fault step() {
        const std::uint64_t call = calls_++;
        if (fault_ == Fault::none || call < fail_call_) return Fault::none;
        if (call > fail_call_ && !forever_) return Fault::none;
        ++failed_;
        return fault_;
    }
    void check(const char* call, const std::string& path) {
        const Fault fault = step();
        if (fault != Fault::none) fail(call, path, fault == Fault::io_error ? EIO : ENOSPC);
    }

    std::atomic<bool> holds_syncs_{false};
    std::atomic<int> held_syncs_{0};
    mutable std::mutex mutex_;
    Names names_;
    Names synced_names_;
    std::vector<Names> steps_;  // after each change of names since
    std::uint64_t boots_ = 1;
    std::uint64_t calls_ = 0;
    std::uint64_t syncs_ = 0;
    std::uint64_t failed_ = 0;
    std::uint64_t fail_call_ = 0;
    Fault fault_ = Fault::none;
    bool forever_ = false;
};

}  // namespace klineagg
