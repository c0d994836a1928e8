#include "mount/fuse_session.hpp"

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 12)
#include <fuse_lowlevel.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/integers.hpp"
#include "io/mount_table.hpp"

namespace vmad::mount {
namespace {

/// As large as the kernel makes a single request.
constexpr unsigned kReadAheadBytes = 4 << 20;
/// How far the end of data is searched for. A hole found there is none, which costs its reader one more
/// question; to decode a whole disk for the answer would cost it minutes.
constexpr std::uint64_t kMaxSearchedBytes = 32 << 20;

/// libfuse's last words, which name a failure better than its return values.
std::mutex said_mutex;
std::string said;

void hear(fuse_log_level, const char* format, va_list arguments) {
    char text[512];
    (void)std::vsnprintf(text, sizeof(text), format, arguments);
    std::string sentence(text);
    while (!sentence.empty() && sentence.back() == '\n') sentence.pop_back();
    if (sentence.starts_with("fuse: ")) sentence.erase(0, 6);
    const std::lock_guard lock(said_mutex);
    said = sentence;
}

std::string last_words() {
    const std::lock_guard lock(said_mutex);
    return said.empty() ? "it was refused" : said;
}

sigset_t held_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
    return set;
}

FuseSession::State& state_of(fuse_req_t request) {
    return *static_cast<FuseSession::State*>(fuse_req_userdata(request));
}

/// The errno value for the exception in flight.
int error_number() {
    try {
        throw;
    } catch (const std::bad_alloc&) {
        return ENOMEM;
    } catch (const base::SystemError& error) {
        return error.number() == ENOMEM ? ENOMEM : EIO;
    } catch (...) {
        return EIO;
    }
}

std::string failure_text() {
    try {
        throw;
    } catch (const std::bad_alloc&) {
        return "out of memory";
    } catch (const std::exception& error) {
        return error.what();
    } catch (...) {
        return "unknown failure";
    }
}

/// Runs what answers a request; it fails with what was thrown.
template <typename Answer>
void answer(fuse_req_t request, Answer give) noexcept {
    try {
        give(state_of(request));
    } catch (...) {
        const int number = error_number();
        try {
            state_of(request).options.on_failure(failure_text());
        } catch (...) {
            // The reader hears of it all the same.
        }
        fuse_reply_err(request, number);
    }
}

struct stat status_of(const Attributes& attributes, const SessionOptions& options) {
    struct stat status {};
    status.st_ino = attributes.inode;
    const mode_t readable = options.allow_other ? 0444 : 0400;
    status.st_mode = attributes.is_directory ? S_IFDIR | readable | readable >> 2 : S_IFREG | readable;
    status.st_nlink = attributes.is_directory ? 2 : 1;
    status.st_uid = ::geteuid();
    status.st_gid = ::getegid();
    status.st_size = static_cast<off_t>(attributes.size_bytes);
    status.st_blksize = 4096;
    status.st_blocks = static_cast<blkcnt_t>(base::divide_up<std::uint64_t>(attributes.stored_bytes, 512));
    status.st_atim = status.st_mtim = status.st_ctim = attributes.modified;
    return status;
}

void start(void* data, fuse_conn_info* connection) {
    connection->max_readahead = kReadAheadBytes;
    auto& state = *static_cast<FuseSession::State*>(data);
    try {
        state.options.on_ready();
    } catch (...) {
        state.error.capture();
        fuse_session_exit(state.session);
    }
}

void look_up(fuse_req_t request, fuse_ino_t directory, const char* name) {
    answer(request, [&](FuseSession::State& state) {
        const auto found = state.tree.find(directory, name);
        if (!found) return (void)fuse_reply_err(request, ENOENT);
        fuse_entry_param entry{};
        entry.ino = found->inode;
        entry.attr = status_of(*found, state.options);
        entry.attr_timeout = entry.entry_timeout = found->valid_seconds;
        fuse_reply_entry(request, &entry);
    });
}

void get_attributes(fuse_req_t request, fuse_ino_t inode, fuse_file_info*) {
    answer(request, [&](FuseSession::State& state) {
        const auto found = state.tree.attributes(inode);
        if (!found) return (void)fuse_reply_err(request, ENOENT);
        const auto status = status_of(*found, state.options);
        fuse_reply_attr(request, &status, found->valid_seconds);
    });
}

// Files.

OpenFile& file_of(const fuse_file_info* info) { return Handles<OpenFile>::at(info->fh); }

void open_file(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
    answer(request, [&](FuseSession::State& state) {
        if ((info->flags & O_ACCMODE) != O_RDONLY) return (void)fuse_reply_err(request, EROFS);
        auto file = state.tree.open(inode);
        // The kernel looks the name up again, and opens what has it now.
        if (!file) return (void)fuse_reply_err(request, ESTALE);
        info->keep_cache = file->is_lasting();
        info->direct_io = !file->is_lasting();
        info->fh = state.files.add(std::move(file));
        // Who was interrupted meanwhile never closes.
        if (fuse_reply_open(request, info) != 0) state.files.close(info->fh);
    });
}

void close_file(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
    state_of(request).files.close(info->fh);
    fuse_reply_err(request, 0);
}

void read_file(fuse_req_t request, fuse_ino_t, std::size_t size, off_t begin, fuse_file_info* info) {
    answer(request, [&](FuseSession::State&) {
        auto& file = file_of(info);
        const auto offset = static_cast<std::uint64_t>(begin);
        const auto end = std::min(offset + size, file.size_bytes());
        const auto count = end > offset ? end - offset : 0;
        const auto bytes = std::make_unique_for_overwrite<std::byte[]>(count);
        if (count > 0) file.read_at(offset, {bytes.get(), count});
        fuse_reply_buf(request, reinterpret_cast<const char*>(bytes.get()), count);
    });
}

/// Where the next data, or the next hole, begins from `offset` on, which lies in the file; its end is a hole.
/// Nothing when there is no more data, or nobody waits for the answer any longer.
std::optional<std::uint64_t> seek(OpenFile& file, std::uint64_t offset, bool stored, fuse_req_t request) {
    const auto limit = stored ? file.size_bytes() : offset + std::min(kMaxSearchedBytes, file.size_bytes());
    while (offset < file.size_bytes()) {
        const auto range = file.range_at(offset);
        if (range.stored == stored || offset >= limit) return offset;
        if (fuse_req_interrupted(request) != 0) return std::nullopt;
        offset = range.end;
    }
    return stored ? std::nullopt : std::optional(file.size_bytes());
}

void seek_in_file(fuse_req_t request, fuse_ino_t, off_t begin, int whence, fuse_file_info* info) {
    answer(request, [&](FuseSession::State&) {
        if (whence != SEEK_DATA && whence != SEEK_HOLE) return (void)fuse_reply_err(request, EINVAL);
        auto& file = file_of(info);
        std::optional<std::uint64_t> found;
        if (begin >= 0 && static_cast<std::uint64_t>(begin) < file.size_bytes())
            found = seek(file, static_cast<std::uint64_t>(begin), whence == SEEK_DATA, request);
        if (!found) return (void)fuse_reply_err(request, fuse_req_interrupted(request) != 0 ? EINTR : ENXIO);
        fuse_reply_lseek(request, static_cast<off_t>(*found));
    });
}

// Directories.

/// One opening of a directory lists what was there then, so that what comes and goes meanwhile moves nothing.
using Listing = std::vector<Entry>;

void open_directory(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
    answer(request, [&](FuseSession::State& state) {
        auto entries = state.tree.entries(inode);
        if (!entries) return (void)fuse_reply_err(request, ENOENT);
        auto listing = std::make_unique<Listing>();
        for (const auto* name : {".", ".."})
            listing->push_back({name, {.inode = inode, .is_directory = true}});
        for (auto& entry : *entries) listing->push_back(std::move(entry));
        info->fh = state.listings.add(std::move(listing));
        if (fuse_reply_open(request, info) != 0) state.listings.close(info->fh);
    });
}

void close_directory(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
    state_of(request).listings.close(info->fh);
    fuse_reply_err(request, 0);
}

void read_directory(fuse_req_t request, fuse_ino_t, std::size_t size, off_t begin, fuse_file_info* info) {
    answer(request, [&](FuseSession::State& state) {
        const auto& listing = Handles<Listing>::at(info->fh);
        std::vector<char> buffer(size);
        std::size_t used = 0;
        for (auto i = static_cast<std::size_t>(begin); i < listing.size(); ++i) {
            const auto status = status_of(listing[i].attributes, state.options);
            const auto bytes = fuse_add_direntry(request, buffer.data() + used, size - used,
                                                 listing[i].name.c_str(), &status, static_cast<off_t>(i + 1));
            if (bytes > size - used) break;
            used += bytes;
        }
        fuse_reply_buf(request, buffer.data(), used);
    });
}

void get_space(fuse_req_t request, fuse_ino_t) {
    struct statvfs space {};
    space.f_bsize = space.f_frsize = 4096;
    space.f_namemax = NAME_MAX;
    fuse_reply_statfs(request, &space);
}

fuse_lowlevel_ops operations() {
    fuse_lowlevel_ops all{};
    all.init = start;
    all.lookup = look_up;
    all.getattr = get_attributes;
    all.open = open_file;
    all.release = close_file;
    all.read = read_file;
    all.lseek = seek_in_file;
    all.opendir = open_directory;
    all.releasedir = close_directory;
    all.readdir = read_directory;
    all.statfs = get_space;
    return all;
}

/// The options of mount(8), of which a value may hold commas.
std::string option_text(const SessionOptions& options) {
    std::string source;
    for (const char character : options.source) {
        if (character == ',' || character == '\\') source += '\\';
        source += character;
    }
    return fmt::format("ro,nosuid,nodev,noexec,default_permissions,{}subtype=vmad,fsname={}",
                       options.allow_other ? "allow_other," : "", source);
}

/// The kernel reads 128 KiB ahead, unless root says more. A hint: most failures are those of an unprivileged
/// user.
void raise_read_ahead(const std::string& mount_point) {
    try {
        io::FileSystem fs;
        const auto table = io::MountTable::read(fs);
        const auto* mount = table.find(mount_point);
        if (mount == nullptr || mount->mount_point != mount_point) return;
        auto text = std::to_string(kReadAheadBytes >> 10);
        const auto file = fs.open(fmt::format("/sys/class/bdi/{}/read_ahead_kb", mount->device), O_WRONLY);
        iovec bytes{text.data(), text.size()};
        (void)fs.write_at(file, {&bytes, 1}, 0);
    } catch (const base::Error&) {
    }
}

}  // namespace

HeldSignals::HeldSignals() {
    const auto set = held_signals();
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

HeldSignals::~HeldSignals() { release(); }

void HeldSignals::release() {
    const auto set = held_signals();
    ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void FuseSession::Destroy::operator()(fuse_session* session) const noexcept {
    fuse_remove_signal_handlers(session);
    fuse_session_unmount(session);
    fuse_session_destroy(session);
}

FuseSession::FuseSession(FileTree& tree, SessionOptions options)
    : state_{.tree = tree, .options = std::move(options)} {
    fuse_set_log_func(hear);
    std::string program = "vmad-mount";
    std::string dash_o = "-o";
    auto text = option_text(state_.options);
    char* words[] = {program.data(), dash_o.data(), text.data(), nullptr};
    fuse_args arguments = FUSE_ARGS_INIT(3, words);
    const auto all = operations();
    session_.reset(fuse_session_new(&arguments, &all, sizeof(all), &state_));
    fuse_opt_free_args(&arguments);
    if (!session_) throw base::Error(fmt::format("cannot start FUSE: {}", last_words()));
    state_.session = session_.get();
    mount();
}

FuseSession::~FuseSession() = default;

void FuseSession::mount() {
    const auto& mount_point = state_.options.mount_point;
    if (fuse_session_mount(session_.get(), mount_point.c_str()) != 0)
        throw base::Error(fmt::format("cannot mount at {}: {}", mount_point, last_words()));
    raise_read_ahead(mount_point);
    if (fuse_set_signal_handlers(session_.get()) != 0)
        throw base::Error(fmt::format("cannot wait for signals: {}", last_words()));
}

void FuseSession::serve() {
    struct Free {
        void operator()(fuse_loop_config* config) const noexcept { fuse_loop_cfg_destroy(config); }
    };
    const std::unique_ptr<fuse_loop_config, Free> config(fuse_loop_cfg_create());
    if (!config) throw std::bad_alloc();
    fuse_loop_cfg_set_max_threads(config.get(), state_.options.threads);
    HeldSignals::release();
    const int result = fuse_session_loop_mt(session_.get(), config.get());
    state_.error.rethrow();
    if (result < 0)
        throw base::Error(fmt::format("cannot serve {}: {}", state_.options.mount_point, last_words()));
}

}  // namespace vmad::mount
