#include "ctl/operands/archive_search.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cctype>
#include <iterator>
#include <vector>

#include <fmt/format.h>

#include "publish/file_identity.hpp"
#include "pve/backup_name.hpp"

namespace vmad::ctl {
namespace {

/// Where file servers and desktops keep what was deleted and snapshots of the past, and what a check of the
/// file system found; in lower case. What is hidden needs no row.
constexpr std::string_view kSetAside[] = {
    "#recycle",     "#snapshot",
    "@eadir",       "@tmp",                // Synology
    "@recycle",     "@recently-snapshot",  // QNAP
    "$recycle.bin", "recycler",
    "recycled",     "system volume information",  // Windows
    "~snapshot",    "network trash folder",       // NetApp, netatalk
    "lost+found",
};

bool is_set_aside(std::string_view name) {
    const auto equal_letter = [](char a, char b) {
        return std::tolower(static_cast<unsigned char>(a)) == static_cast<unsigned char>(b);
    };
    return std::any_of(std::begin(kSetAside), std::end(kSetAside), [&](std::string_view known) {
        return std::equal(name.begin(), name.end(), known.begin(), known.end(), equal_letter);
    });
}

FoundArchive found(std::string path, const struct stat& status) {
    const auto mark = publish::mark_of(status);
    return {std::move(path), mark.size_bytes, mark.modified_ns};
}

/// Goes through a tree with one directory open at a time, however deep it is.
class Search {
  public:
    Search(io::FileSystem& fs, const io::File& root, const std::function<void(FoundArchive)>& on_found,
           const std::function<void(const std::string&)>& on_error)
        : fs_(fs), root_(root), device_(fs.status(root).st_dev), on_found_(on_found), on_error_(on_error) {}

    void run() {
        pending_.emplace_back();
        while (!pending_.empty()) {
            const auto relative = std::move(pending_.back());
            pending_.pop_back();
            or_report([&] { search(relative); });
        }
    }

  private:
    /// `relative` is below the root, without symbolic links on the way; empty for the root itself.
    void search(const std::string& relative) {
        const auto directory =
            relative.empty() ? io::File() : fs_.open_beneath(root_, relative, O_RDONLY | O_DIRECTORY);
        const auto& here = relative.empty() ? root_ : directory;
        for (const auto& name : fs_.entries(here))
            if (!name.starts_with('.')) or_report([&] { look_at(here, relative, name); });
    }

    void look_at(const io::File& directory, const std::string& relative, const std::string& name) {
        const auto status = fs_.status_at(directory, name);
        if (!status) return;
        if (S_ISDIR(status->st_mode)) {
            if (status->st_dev == device_ && !is_set_aside(name))
                pending_.push_back(relative.empty() ? name : relative + "/" + name);
        } else if (S_ISREG(status->st_mode) && is_archive_name(name)) {
            on_found_(found(directory.entry(name), *status));
        }
    }

    template <typename Step>
    void or_report(Step step) {
        try {
            step();
        } catch (const base::Error& error) {
            on_error_(error.what());
        }
    }

    io::FileSystem& fs_;
    const io::File& root_;
    dev_t device_;
    const std::function<void(FoundArchive)>& on_found_;
    const std::function<void(const std::string&)>& on_error_;
    std::vector<std::string> pending_;
};

}  // namespace

bool is_archive_name(std::string_view name) noexcept {
    return !name.starts_with('.') &&
           std::any_of(pve::kArchiveEndings.begin(), pve::kArchiveEndings.end(),
                       [&](std::string_view ending) { return name.ends_with(ending); });
}

void find_archives(io::FileSystem& fs, const std::string& path,
                   const std::function<void(FoundArchive)>& on_found,
                   const std::function<void(const std::string&)>& on_error) {
    try {
        // O_NONBLOCK: to open a FIFO would wait for its writer.
        const auto place = fs.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
        const auto status = fs.status(place);
        if (S_ISDIR(status.st_mode))
            Search(fs, place, on_found, on_error).run();
        else if (S_ISREG(status.st_mode))
            on_found(found(path, status));
        else
            throw base::Error(fmt::format("{} is not a directory or regular file", path));
    } catch (const base::Error& error) {
        on_error(error.what());
    }
}

}  // namespace vmad::ctl
