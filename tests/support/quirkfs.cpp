// quirkfs: shows a directory at a mount point, and misbehaves there as network and FUSE file systems do.
//
//     quirkfs DIRECTORY MOUNT_POINT QUIRK[=NUMBER],QUIRK[=NUMBER],…
//
// One quirk for each peculiarity that was met; kQuirks lists them. It returns when the directory is mounted
// and goes on in the background until it is unmounted; for root, with all users admitted.
#define FUSE_USE_VERSION 31

#include <dirent.h>
#include <fcntl.h>
#include <fuse.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace {

/// What a quirk is called, the number that it has when none is given, and what it does.
struct Quirk {
    const char* name;
    int number;
    const char* effect;
};

constexpr Quirk kQuirks[] = {
    // Inode numbers.
    {"noino", 0, "the kernel makes numbers up: other ones for each hard link and after each mount"},
    {"hashino", 0, "a number for each path, whichever file is there"},
    // Calls that are refused; the number is the errno.
    {"noexch", EINVAL, "rename knows no flags"},
    {"ignflags", 0, "rename ignores flags: an exchange replaces its target"},
    {"renperm", EPERM, "rename replaces nothing"},
    {"nolink", EPERM, "no hard links"},
    {"nochmod", EPERM, "modes cannot be changed"},
    {"nochown", EPERM, "owners cannot be changed"},
    {"noutime", EPERM, "times cannot be set"},
    {"nordwr", EINVAL, "no file is opened for reading and writing at once"},
    {"noxattr", EOPNOTSUPP, "no extended attributes"},
    {"nofsync", EINVAL, "files cannot be synced"},
    {"nodirsync", EINVAL, "directories cannot be synced"},
    {"nostatfs", ENOSYS, "free space is not reported"},
    {"flusherr", EIO, "closing a temporary file of vmad's fails"},
    // What is shown.
    {"statzero", 0, "the file system reports a size of 0"},
    {"statlie", 0, "it reports a petabyte of free space"},
    {"mtime1s", 0, "times in whole seconds"},
    {"mtime2s", 0, "times in even seconds"},
    {"filemode", 0777, "new files have this mode"},
    {"owner", 1000, "new files have this owner and group"},
    // Data.
    {"eioat", 10, "writing fails beyond this MiB"},
    {"bitflip", 5'000'000, "reading a temporary file of vmad's gets the bit at this offset wrong"},
    {"badcached", 100'000, "the first read of the byte here of any other file is wrong, into the page cache"},
    {"baddirect", 100'000, "the first one past it (O_DIRECT) is"},
    // Time and caches.
    {"slow", 250, "changes of names take this many milliseconds, before and after"},
    {"nocache", 0, "the kernel asks for everything each time"},
    {"hardremove", 0, "an open file is removed, not renamed until it is closed"},
};

std::string root;
std::map<std::string, int, std::less<>> quirks;
std::atomic<bool> was_bad = false;

/// The number of a quirk; nothing when it was not asked for.
std::optional<int> quirk(std::string_view name) {
    const auto found = quirks.find(name);
    return found == quirks.end() ? std::nullopt : std::optional(found->second);
}

bool has(std::string_view name) { return quirk(name).has_value(); }

/// What a call returns that has failed by errno, or has not.
int result(long value) { return value < 0 ? -errno : static_cast<int>(value); }

/// The same for a call that a quirk refuses.
template <typename Call>
int unless(std::string_view refusal, Call call) {
    const auto number = quirk(refusal);
    return number ? -*number : result(call());
}

std::string real(const char* path) { return root + path; }

bool is_temporary(const char* path) { return std::strstr(path, ".vmad-") != nullptr; }

/// In a handle, beside the descriptor: reads pass the page cache by.
constexpr std::uint64_t kDirect = std::uint64_t{1} << 32;

int descriptor(const fuse_file_info* info) { return static_cast<int>(info->fh); }

void delay() {
    if (const auto milliseconds = quirk("slow")) ::usleep(static_cast<unsigned>(*milliseconds) * 1000);
}

void* start(fuse_conn_info*, fuse_config* config) {
    config->use_ino = !has("noino");
    config->entry_timeout = config->attr_timeout = has("nocache") ? 0 : 1;
    config->negative_timeout = 0;
    config->hard_remove = has("hardremove");
    return nullptr;
}

// What is there.

int get_attributes(const char* path, struct stat* status, fuse_file_info* info) {
    const auto code = info != nullptr && info->fh != 0 ? ::fstat(descriptor(info), status)
                                                       : ::lstat(real(path).c_str(), status);
    if (code != 0) return -errno;
    if (has("hashino")) status->st_ino = std::hash<std::string_view>{}(path) >> 1 | 2;
    if (has("mtime1s") || has("mtime2s")) status->st_mtim.tv_nsec = 0;
    if (has("mtime2s")) status->st_mtim.tv_sec &= ~std::int64_t{1};
    return 0;
}

int read_directory(const char* path, void* buffer, fuse_fill_dir_t fill, off_t, fuse_file_info*,
                   fuse_readdir_flags) {
    DIR* directory = ::opendir(real(path).c_str());
    if (directory == nullptr) return -errno;
    while (const auto* entry = ::readdir(directory)) {
        struct stat status {};
        status.st_ino = entry->d_ino;
        status.st_mode = static_cast<mode_t>(entry->d_type) << 12;
        fill(buffer, entry->d_name, &status, 0, fuse_fill_dir_flags{});
    }
    ::closedir(directory);
    return 0;
}

int get_space(const char* path, struct statvfs* space) {
    if (const auto number = quirk("nostatfs")) return -*number;
    if (::statvfs(real(path).c_str(), space) != 0) return -errno;
    if (has("statlie")) space->f_blocks = space->f_bfree = space->f_bavail = 1UL << 38;
    if (has("statzero")) space->f_blocks = space->f_bfree = space->f_bavail = 0;
    return 0;
}

// Names.

int make_directory(const char* path, mode_t mode) { return result(::mkdir(real(path).c_str(), mode)); }

int remove_directory(const char* path) { return result(::rmdir(real(path).c_str())); }

int remove_name(const char* path) {
    delay();
    return result(::unlink(real(path).c_str()));
}

int rename_at_once(const char* from, const char* to, unsigned flags) {
    if (flags != 0 && has("noexch")) return -*quirk("noexch");
    if (has("ignflags")) flags = 0;
    if (flags == 0 && has("renperm") && ::access(real(to).c_str(), F_OK) == 0) return -*quirk("renperm");
    return result(::syscall(SYS_renameat2, AT_FDCWD, real(from).c_str(), AT_FDCWD, real(to).c_str(), flags));
}

int rename_slowly(const char* from, const char* to, unsigned flags) {
    delay();
    const int code = rename_at_once(from, to, flags);
    delay();
    return code;
}

int make_link(const char* from, const char* to) {
    delay();
    const int code = unless("nolink", [&] { return ::link(real(from).c_str(), real(to).c_str()); });
    delay();
    return code;
}

// Metadata.

int change_mode(const char* path, mode_t mode, fuse_file_info*) {
    return unless("nochmod", [&] { return ::chmod(real(path).c_str(), mode); });
}

int change_owner(const char* path, uid_t owner, gid_t group, fuse_file_info*) {
    return unless("nochown", [&] { return ::lchown(real(path).c_str(), owner, group); });
}

int set_times(const char* path, const timespec times[2], fuse_file_info*) {
    return unless("noutime",
                  [&] { return ::utimensat(AT_FDCWD, real(path).c_str(), times, AT_SYMLINK_NOFOLLOW); });
}

int set_attribute(const char* path, const char* name, const char* value, size_t size, int flags) {
    return unless("noxattr", [&] { return ::lsetxattr(real(path).c_str(), name, value, size, flags); });
}

int get_attribute(const char* path, const char* name, char* value, size_t size) {
    return unless("noxattr", [&] { return ::lgetxattr(real(path).c_str(), name, value, size); });
}

int list_attributes(const char* path, char* names, size_t size) {
    return unless("noxattr", [&] { return ::llistxattr(real(path).c_str(), names, size); });
}

int remove_attribute(const char* path, const char* name) {
    return unless("noxattr", [&] { return ::lremovexattr(real(path).c_str(), name); });
}

// Data.

int open_with(const char* path, fuse_file_info* info, int more_flags, mode_t mode) {
    const bool is_both = (info->flags & O_ACCMODE) == O_RDWR;
    if (is_both && has("nordwr")) return -*quirk("nordwr");
    const int fd = ::open(real(path).c_str(), (info->flags & ~O_DIRECT) | more_flags, mode);
    if (fd < 0) return -errno;
    info->fh = static_cast<std::uint64_t>(fd) | ((info->flags & O_DIRECT) != 0 ? kDirect : 0);
    return 0;
}

int open_file(const char* path, fuse_file_info* info) { return open_with(path, info, 0, 0); }

int create_file(const char* path, mode_t mode, fuse_file_info* info) {
    const int code = open_with(path, info, O_CREAT, mode);
    if (code != 0) return code;
    if (const auto all = quirk("filemode"))
        return result(::fchmod(descriptor(info), static_cast<mode_t>(*all)));
    if (const auto owner = quirk("owner")) {
        const auto id = static_cast<uid_t>(*owner);
        return result(::fchown(descriptor(info), id, id));
    }
    return 0;
}

int read_file(const char* path, char* into, size_t size, off_t offset, fuse_file_info* info) {
    const auto count = ::pread(descriptor(info), into, size, offset);
    const off_t wrong = quirk("bitflip").value_or(0);
    if (wrong != 0 && is_temporary(path) && offset <= wrong && wrong < offset + count)
        into[wrong - offset] = static_cast<char>(into[wrong - offset] ^ 1);
    const off_t bad = quirk((info->fh & kDirect) != 0 ? "baddirect" : "badcached").value_or(-1);
    if (!is_temporary(path) && offset <= bad && bad < offset + count && !was_bad.exchange(true))
        into[bad - offset] = static_cast<char>(into[bad - offset] ^ 1);
    return result(count);
}

int write_file(const char*, const char* from, size_t size, off_t offset, fuse_file_info* info) {
    const auto limit = quirk("eioat");
    if (limit && offset >= off_t{*limit} << 20) return -EIO;
    return result(::pwrite(descriptor(info), from, size, offset));
}

int set_size(const char* path, off_t size, fuse_file_info*) {
    return result(::truncate(real(path).c_str(), size));
}

int flush(const char* path, fuse_file_info*) {
    return has("flusherr") && is_temporary(path) ? -*quirk("flusherr") : 0;
}

int close_file(const char*, fuse_file_info* info) { return result(::close(descriptor(info))); }

int sync_file(const char*, int, fuse_file_info* info) {
    return unless("nofsync", [&] { return ::fsync(descriptor(info)); });
}

int sync_directory(const char*, int, fuse_file_info*) {
    delay();
    return unless("nodirsync", [] { return 0; });
}

fuse_operations operations() {
    fuse_operations all{};
    all.init = start;
    all.getattr = get_attributes;
    all.readdir = read_directory;
    all.statfs = get_space;
    all.mkdir = make_directory;
    all.rmdir = remove_directory;
    all.unlink = remove_name;
    all.rename = rename_slowly;
    all.link = make_link;
    all.chmod = change_mode;
    all.chown = change_owner;
    all.utimens = set_times;
    all.setxattr = set_attribute;
    all.getxattr = get_attribute;
    all.listxattr = list_attributes;
    all.removexattr = remove_attribute;
    all.open = open_file;
    all.create = create_file;
    all.read = read_file;
    all.write = write_file;
    all.truncate = set_size;
    all.flush = flush;
    all.release = close_file;
    all.fsync = sync_file;
    all.fsyncdir = sync_directory;
    return all;
}

/// Takes one quirk from the command line. False when there is no such.
bool ask_for(const std::string& word) {
    const auto name = word.substr(0, word.find('='));
    for (const auto& known : kQuirks) {
        if (known.name != name) continue;
        quirks[name] = name == word ? known.number : std::atoi(word.c_str() + name.size() + 1);
        return true;
    }
    std::fprintf(stderr, "quirkfs: no such quirk: %s\n", name.c_str());
    return false;
}

void print_usage() {
    std::fprintf(stderr, "usage: quirkfs DIRECTORY MOUNT_POINT QUIRK[=NUMBER],...\n");
    for (const auto& known : kQuirks)
        std::fprintf(stderr, "  %-10s %s (%d)\n", known.name, known.effect, known.number);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        print_usage();
        return 2;
    }
    root = argv[1];
    const std::string words = argv[3];
    for (std::size_t begin = 0; begin < words.size();) {
        const auto end = std::min(words.find(',', begin), words.size());
        if (!ask_for(words.substr(begin, end - begin))) return 2;
        begin = end + 1;
    }
    ::umask(0);
    char mount_options[] = "allow_other,fsname=quirkfs,subtype=quirkfs";
    char dash_o[] = "-o";
    char* arguments[] = {argv[0], argv[2], dash_o, mount_options, nullptr};
    const auto all = operations();
    return fuse_main(4, arguments, &all, nullptr);
}
