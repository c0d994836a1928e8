// A file system that shares blocks, on one that need not: it keeps which block of each file is where, as XFS
// does, or as btrfs does, where an extent takes its whole room as long as any of its blocks is used. Contents
// are those of the real files. As FaultFileSystem, it can be watched and hurt. One thread.
#pragma once

#include <linux/magic.h>

#include <map>
#include <set>
#include <vector>

#include "support/fault_file_system.hpp"

namespace vmad::support {

class SharingFileSystem : public FaultFileSystem {
  public:
    static constexpr std::uint64_t kPage = 4096;
    static constexpr std::uint64_t kExtentPages = 1024;
    static constexpr std::uint64_t kXfs = 0x58465342;

    std::uint64_t kind = kXfs;  ///< or BTRFS_SUPER_MAGIC, or one that shares nothing
    int refusal = 0;            ///< of every attempt
    std::uint64_t most_shared = std::uint64_t{16} << 20;  ///< by one call; 0: nothing, and no difference
    std::function<bool(std::uint64_t to_offset)> says_differs;  ///< though it is the same; may be empty
    unsigned share_calls = 0;
    std::uint64_t shared_pages = 0;  ///< that became shared, by all calls
    std::uint64_t read_bytes = 0;

    /// Of the files together.
    [[nodiscard]] std::uint64_t room_pages(const std::vector<const io::File*>& files) {
        std::set<std::uint64_t> pages;
        for (const auto* file : files)
            for (const auto page : places(*file)) pages.insert(kind == kXfs ? page : page / kExtentPages);
        if (kind == kXfs) return pages.size();
        std::uint64_t room = 0;
        for (const auto extent : pages) room += allocated_[extent];
        return room;
    }

    std::uint64_t type(const io::File& file) override {
        return step("type", file.path(), [&] { return kind; });
    }
    std::size_t read_at(const io::File& file, std::span<const iovec> into, std::uint64_t offset) override {
        const auto count = FaultFileSystem::read_at(file, into, offset);
        read_bytes += count;
        return count;
    }
    void truncate(const io::File& file, std::uint64_t size_bytes) override {
        FaultFileSystem::truncate(file, size_bytes);
        places_.erase(io::FileSystem::status(file).st_ino);
    }
    io::BlockSharing share_range(const io::File& from, std::uint64_t from_offset, const io::File& to,
                                 std::uint64_t to_offset, std::uint64_t size_bytes) override {
        ++share_calls;
        return step("share_range", to.path(), [&]() -> io::BlockSharing {
            if (refusal != 0) return {.refusal = refusal};
            const bool at_ends =
                from_offset + size_bytes == size_of(from) && to_offset + size_bytes == size_of(to);
            if (from_offset % kPage != 0 || to_offset % kPage != 0 || (size_bytes % kPage != 0 && !at_ends))
                return {.refusal = EINVAL};
            if (says_differs && says_differs(to_offset)) return {.differs = true};
            if (content(from, from_offset, size_bytes) != content(to, to_offset, size_bytes))
                return {.differs = true};
            const auto bytes = std::min(size_bytes, most_shared);
            take_places(places(from), from_offset / kPage, places(to), to_offset / kPage,
                        (bytes + kPage - 1) / kPage);
            return {.bytes = bytes};
        });
    }
    std::vector<io::DeviceExtent> extents(const io::File& file, std::uint64_t offset,
                                          std::uint64_t) override {
        return step("extents", file.path(), [&] {
            constexpr std::size_t kMost = 5;
            const auto& pages = places(file);
            std::vector<io::DeviceExtent> found;
            for (auto page = offset / kPage; page < pages.size() && found.size() < kMost;) {
                auto end = page + 1;
                while (end < pages.size() && pages[end] == pages[end - 1] + 1 &&
                       is_shared(pages[end]) == is_shared(pages[page]))
                    ++end;
                io::DeviceExtent extent;
                extent.offset = page * kPage;
                extent.bytes = (end - page) * kPage;
                extent.device_offset = pages[page] * kPage;
                extent.is_shared = is_shared(pages[page]);
                found.push_back(extent);
                page = end;
            }
            return found;
        });
    }

  private:
    using Places = std::vector<std::uint64_t>;

    static std::uint64_t size_of(const io::File& file) {
        io::FileSystem fs;
        return static_cast<std::uint64_t>(fs.status(file).st_size);
    }
    static std::string content(const io::File& file, std::uint64_t offset, std::uint64_t bytes) {
        io::FileSystem fs;
        std::string text(bytes, '\0');
        text.resize(io::read_fully_at(fs, file, std::as_writable_bytes(std::span(text)), offset));
        return text;
    }
    /// What has no place yet gets one.
    Places& places(const io::File& file) {
        auto& pages = places_[io::FileSystem::status(file).st_ino];
        const auto count = (size_of(file) + kPage - 1) / kPage;
        if (pages.size() < count) next_ = (next_ / kExtentPages + 1) * kExtentPages;
        for (; pages.size() < count; ++next_) {
            pages.push_back(next_);
            ++uses_[next_];
            ++allocated_[next_ / kExtentPages];
        }
        return pages;
    }
    void take_places(const Places& from, std::uint64_t from_page, Places& to, std::uint64_t to_page,
                     std::uint64_t count) {
        for (std::uint64_t i = 0; i < count; ++i) {
            auto& place = to[to_page + i];
            if (place == from[from_page + i]) continue;
            ++shared_pages;
            --uses_[place];
            place = from[from_page + i];
            ++uses_[place];
        }
    }
    [[nodiscard]] bool is_shared(std::uint64_t page) { return uses_[page] > 1; }

    std::map<ino_t, Places> places_;
    std::map<std::uint64_t, unsigned> uses_;            ///< by page of the device
    std::map<std::uint64_t, std::uint64_t> allocated_;  ///< pages of each extent
    std::uint64_t next_ = 0;
};

}  // namespace vmad::support
