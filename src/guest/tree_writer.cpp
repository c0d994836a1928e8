#include "guest/tree_writer.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace vmad::guest {
namespace {

timespec time_of(const FileStatus& status) {
    return {.tv_sec = status.modified, .tv_nsec = static_cast<long>(status.modified_nanoseconds)};
}

mode_t type_bits(FileType type) {
    switch (type) {
        case FileType::character_device:
            return S_IFCHR;
        case FileType::block_device:
            return S_IFBLK;
        default:
            return S_IFIFO;
    }
}

void write_fully(int fd, std::string_view data, std::optional<std::uint64_t> offset,
                 const std::string& name) {
    while (!data.empty()) {
        const auto written = offset ? ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(*offset))
                                    : ::write(fd, data.data(), data.size());
        if (written < 0 && errno != EINTR) base::throw_errno("write", name);
        if (written <= 0) continue;
        data.remove_prefix(static_cast<std::size_t>(written));
        if (offset) *offset += static_cast<std::uint64_t>(written);
    }
}

}  // namespace

TreeWriter::TreeWriter(const std::string& directory, Options options)
    : name_(directory),
      directory_(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)),
      options_(std::move(options)) {
    if (!directory_) base::throw_errno("open", directory);
}

TreeWriter::~TreeWriter() { abandon(); }

void TreeWriter::take(const CopyRecord& record) {
    if (record.step == CopyStep::failed) return abandon();
    if (record.step != CopyStep::data && is_left_out(record)) return;
    try {
        switch (record.step) {
            case CopyStep::begin:
                return begin(record);
            case CopyStep::hard_link:
                return make_hard_link(record);
            case CopyStep::data:
                return write(record);
            default:
                return end(record);
        }
    } catch (const base::Error&) {
        abandon();
        if (record.step == CopyStep::begin) left_out_ = record.path;
        throw;
    }
}

bool TreeWriter::is_left_out(const CopyRecord& record) const {
    if (!left_out_) return false;
    if (record.path == *left_out_) return record.step == CopyStep::end;
    return record.path.starts_with(*left_out_ + "/");
}

std::string TreeWriter::shown(const std::string& path) const {
    return name_.ends_with('/') ? name_ + path : name_ + "/" + path;
}

base::UniqueFd TreeWriter::open_beneath(const std::string& path, int flags) const {
    open_how how{};
    how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
    const char* name = path.empty() ? "." : path.c_str();
    base::UniqueFd fd(static_cast<int>(::syscall(SYS_openat2, directory_.get(), name, &how, sizeof how)));
    if (!fd) base::throw_errno("open", shown(path));
    return fd;
}

/// What was asked for, and no other name leads there.
bool TreeWriter::is_allowed(const std::string& path) const {
    if (path.find('\0') != path.npos) return false;
    for (std::size_t begin = 0; begin <= path.size();) {
        const auto end = std::min(path.find('/', begin), path.size());
        const auto name = std::string_view(path).substr(begin, end - begin);
        if (name.empty() || name == "." || name == "..") return false;
        begin = end + 1;
    }
    return std::any_of(options_.names.begin(), options_.names.end(), [&](const std::string& name) {
        return name.empty() || path == name || path.starts_with(name + "/");
    });
}

TreeWriter::Place TreeWriter::place_of(const std::string& path) const {
    if (!is_allowed(path)) throw base::Error("the files to copy come in disorder");
    const auto slash = path.rfind('/');
    auto name = slash == path.npos ? path : path.substr(slash + 1);
    return {open_beneath(slash == path.npos ? "" : path.substr(0, slash), O_PATH | O_DIRECTORY),
            std::move(name)};
}

void TreeWriter::begin(const CopyRecord& record) {
    left_out_.reset();
    const auto place = place_of(record.path);
    if (record.status.type == FileType::directory) return make_directory(record, place);
    if (options_.force) remove_existing(place);
    make(record, place);
}

void TreeWriter::make(const CopyRecord& record, const Place& place) {
    const auto& status = record.status;
    const auto* name = place.name.c_str();
    if (status.type == FileType::file) {
        file_.reset(::openat(place.directory.get(), name,
                             O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
        if (!file_) base::throw_errno("create", shown(record.path));
        path_ = record.path;
        return;
    }
    const bool is_device = status.type != FileType::link && status.type != FileType::fifo;
    if (is_device && !options_.keep_owners)
        throw base::Unsupported(shown(record.path) + ": device nodes are copied only with --owner");
    const auto device = is_device ? makedev(status.device_major, status.device_minor) : 0;
    const auto result = status.type == FileType::link
                            ? ::symlinkat(record.text.c_str(), place.directory.get(), name)
                            : ::mknodat(place.directory.get(), name, type_bits(status.type) | 0600, device);
    if (result != 0) base::throw_errno("create", shown(record.path));
    set_metadata(status, open_beneath(record.path, O_PATH | O_NOFOLLOW).get(), record.path);
}

/// One that is there already keeps its owner, permissions and time.
void TreeWriter::make_directory(const CopyRecord& record, const Place& place) {
    if (::mkdirat(place.directory.get(), place.name.c_str(), 0700) == 0) {
        made_.insert(record.path);
        return;
    }
    if (errno != EEXIST) base::throw_errno("create", shown(record.path));
    (void)open_beneath(record.path, O_PATH | O_DIRECTORY);
}

void TreeWriter::make_hard_link(const CopyRecord& record) {
    const auto from = place_of(record.text);
    const auto to = place_of(record.path);
    if (options_.force) remove_existing(to);
    if (::linkat(from.directory.get(), from.name.c_str(), to.directory.get(), to.name.c_str(), 0) != 0)
        base::throw_errno("create", shown(record.path));
    ++files_;
}

void TreeWriter::remove_existing(const Place& place) const {
    if (::unlinkat(place.directory.get(), place.name.c_str(), 0) != 0 && errno != ENOENT)
        base::throw_errno("replace", shown(place.name));
}

void TreeWriter::write(const CopyRecord& record) {
    if (file_) write_fully(file_.get(), record.text, record.number, shown(path_));
}

void TreeWriter::end(const CopyRecord& record) {
    if (record.status.type == FileType::directory && made_.erase(record.path) > 0)
        return set_metadata(record.status, open_beneath(record.path, O_PATH | O_DIRECTORY).get(),
                            record.path);
    if (!file_) return;
    if (::ftruncate(file_.get(), static_cast<off_t>(record.status.size_bytes)) != 0)
        base::throw_errno("write", shown(path_));
    // By its descriptor: who can write to the directory may have put something else in its place.
    set_metadata(record.status, file_.get(), path_);
    file_.reset();
}

void TreeWriter::set_metadata(const FileStatus& status, int entry, const std::string& path) {
    if (options_.keep_owners && ::fchownat(entry, "", status.owner, status.group, AT_EMPTY_PATH) != 0)
        base::throw_errno("chown", shown(path));
    const auto by_number = "/proc/self/fd/" + std::to_string(entry);
    const auto mode = status.mode & (options_.keep_owners ? 07777U : 01777U);
    if (status.type != FileType::link && ::chmod(by_number.c_str(), mode) != 0)
        base::throw_errno("chmod", shown(path));
    const std::array times{timespec{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, time_of(status)};
    if (::utimensat(entry, "", times.data(), AT_EMPTY_PATH) != 0) base::throw_errno("utimensat", shown(path));
    if (status.type != FileType::directory) ++files_;
}

void TreeWriter::abandon() noexcept {
    if (!file_) return;
    file_.reset();
    try {
        const auto place = place_of(path_);
        (void)::unlinkat(place.directory.get(), place.name.c_str(), 0);
    } catch (const base::Error&) {
        // Its directory is gone, and so is it.
    }
}

void ContentWriter::take(const CopyRecord& record) {
    switch (record.step) {
        case CopyStep::begin:
            if (record.status.type != FileType::file)
                throw base::UsageError("only the content of a file can be written to standard output");
            size_bytes_ = record.status.size_bytes;
            return;
        case CopyStep::data:
            write_zeros(record.number);
            return write(record.text);
        case CopyStep::end:
            return write_zeros(size_bytes_);
        default:
            return;
    }
}

void ContentWriter::write_zeros(std::uint64_t until) {
    static const std::string zeros(64 << 10, '\0');
    while (written_ < until)
        write(std::string_view(zeros).substr(0, std::min<std::uint64_t>(zeros.size(), until - written_)));
}

void ContentWriter::write(std::string_view data) {
    write_fully(fd_, data, std::nullopt, name_);
    written_ += data.size();
}

}  // namespace vmad::guest
