#include "guest/tree_sender.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>

namespace vmad::guest {
namespace {

constexpr std::size_t kMaxPathBytes = 4095;  // as the kernel has it

std::string joined(const std::string& directory, const std::string& name) {
    return directory.empty() || directory.ends_with('/') ? directory + name
                                                         : fmt::format("{}/{}", directory, name);
}

class TreeSender {
  public:
    TreeSender(VolumeTree& tree, int fd) : tree_(tree), fd_(fd) {}

    /// The sum when all of them are files.
    void send_total(std::span<const CopySource> sources) {
        std::uint64_t total = 0;
        for (const auto& source : sources) try {
                const auto status = tree_.status(tree_.find(source.path));
                if (status.type != FileType::file) return;
                total += status.size_bytes;
            } catch (const base::Error&) {
                return;  // told when it is its turn
            }
        send_record(fd_, {.step = CopyStep::total, .number = total});
    }

    void send(const CopySource& source) {
        guarded(source.path, [&] {
            const auto inode = tree_.find(source.path);
            if (source.target.empty()) return send_entries(inode, source);
            send_one(inode, source);
        });
    }

  private:
    /// A failed write to the pipe is no failure of a file: it ends the process.
    template <typename Work>
    void guarded(const std::string& path, Work work) {
        try {
            work();
        } catch (const base::Error& error) {
            send_record(fd_, {.step = CopyStep::failed, .text = fmt::format("{}: {}", path, error.what())});
        }
    }

    void send_entries(std::uint64_t directory, const CopySource& source) {
        if (!directories_.insert(directory).second)
            throw base::Error("the file system is damaged: a directory has two names");
        auto entries = tree_.entries(directory);
        // They stand on the disk in about this order.
        std::sort(entries.begin(), entries.end(),
                  [](const auto& a, const auto& b) { return a.inode < b.inode; });
        for (const auto& entry : entries) {
            const CopySource one{joined(source.path, entry.name), joined(source.target, entry.name)};
            guarded(one.path, [&] { send_one(entry.inode, one); });
        }
    }

    void send_one(std::uint64_t inode, const CopySource& source) {
        if (source.target.size() > kMaxPathBytes) throw base::Error("the path is too long");
        const auto status = tree_.status(inode);
        if (status.type == FileType::socket) return;  // means nothing without its process
        if (status.type == FileType::other) throw base::Unsupported("only the guest can read it");
        if (send_hard_link(inode, status, source)) return;
        CopyRecord record{.step = CopyStep::begin, .status = status, .path = source.target};
        if (status.type == FileType::link) record.text = tree_.link_target(inode);
        send_record(fd_, record);
        if (status.type == FileType::file) send_data(inode);
        if (status.type == FileType::directory) guarded(source.path, [&] { send_entries(inode, source); });
        record.step = CopyStep::end;
        send_record(fd_, record);
        if (status.links > 1 && status.type == FileType::file) copied_.emplace(inode, source.target);
    }

    bool send_hard_link(std::uint64_t inode, const FileStatus& status, const CopySource& source) {
        const auto found = copied_.find(inode);
        if (found == copied_.end()) return false;
        send_record(
            fd_,
            {.step = CopyStep::hard_link, .status = status, .path = source.target, .text = found->second});
        return true;
    }

    void send_data(std::uint64_t inode) {
        tree_.read(inode, [&](std::uint64_t offset, std::span<const std::byte> data) {
            for (; !data.empty(); data = data.subspan(std::min(data.size(), kMaxCopyData))) {
                const auto part = data.first(std::min(data.size(), kMaxCopyData));
                send_record(fd_, {.step = CopyStep::data, .number = offset}, part);
                offset += part.size();
            }
        });
    }

    VolumeTree& tree_;
    int fd_;
    std::set<std::uint64_t> directories_;          ///< that were sent: a loop must not go on for ever
    std::map<std::uint64_t, std::string> copied_;  ///< where a file with several names was sent to
};

}  // namespace

void send_files(VolumeTree& tree, std::span<const CopySource> sources, int fd) {
    TreeSender sender(tree, fd);
    sender.send_total(sources);
    if (const auto text = tree.warning(); !text.empty())
        send_record(fd, {.step = CopyStep::warning, .text = text});
    for (const auto& source : sources) sender.send(source);
}

}  // namespace vmad::guest
