#include "failing_calls.hpp"

#include <dirent.h>

#include <array>
#include <cerrno>
#include <type_traits>

namespace vmad::fault {
namespace {

FailingFileSystem* active = nullptr;

/// How this system call fails: by an error of 0 it does not.
Failure strike() {
    return active != nullptr && support::FaultFileSystem::current() != nullptr ? active->strike() : Failure();
}

template <typename Call>
auto call_or_fail(Call call) {
    using Result = decltype(call());
    const auto failure = strike();
    if (failure.error == 0) return call();
    if (failure.was_done) (void)call();
    errno = failure.error;
    if constexpr (std::is_pointer_v<Result>)
        return Result{nullptr};
    else
        return static_cast<Result>(-1);
}

/// Half, in whole pages if there are some: what is read past the page cache has to be aligned.
std::size_t half_of(std::size_t size) {
    constexpr std::size_t kPage = 4096;
    return size >= 2 * kPage ? size / 2 / kPage * kPage : (size + 1) / 2;
}

/// The first slice that holds something, as far as it is transferred.
template <typename Transfer>
ssize_t transfer_or_fail(const iovec* slices, int count, Transfer transfer) {
    const auto failure = strike();
    if (failure.error == 0) return transfer(slices, count);
    if (failure.error == kNothing) return 0;
    if (failure.was_done) (void)transfer(slices, count);
    if (failure.error != kShort) return errno = failure.error, -1;
    while (count > 1 && slices->iov_len == 0) ++slices, --count;
    const iovec half{slices->iov_base, half_of(slices->iov_len)};
    return transfer(&half, 1);
}

}  // namespace

FailingFileSystem::FailingFileSystem() { active = this; }
FailingFileSystem::~FailingFileSystem() { active = nullptr; }

void FailingFileSystem::fail(const Failure& failure) {
    const std::lock_guard lock(mutex_);
    failure_ = failure;
    counts_.clear();
    was_hit_ = false;
}

Failure FailingFileSystem::strike() {
    const std::lock_guard lock(mutex_);
    const auto& method = current()->operation;
    const auto number = ++counts_[method];
    if (method != failure_.method || number < failure_.number) return {};
    if (number > failure_.number && !failure_.stays) return {};
    was_hit_ = true;
    return failure_;
}

}  // namespace vmad::fault

// What the linker puts in place of the system calls, and what they are called then.
#define FAILING(result, name, parameters, arguments)                               \
    result __real_##name parameters;                                               \
    result __wrap_##name parameters {                                              \
        return vmad::fault::call_or_fail([&] { return __real_##name arguments; }); \
    }

extern "C" {
FAILING(int, open64, (const char* path, int flags, mode_t mode), (path, flags, mode))
FAILING(int, openat64, (int fd, const char* path, int flags, mode_t mode), (fd, path, flags, mode))
FAILING(long, syscall, (long number, long a, long b, long c, long d, long e, long f),
        (number, a, b, c, d, e, f))
FAILING(int, ftruncate64, (int fd, off64_t size), (fd, size))
FAILING(int, fsync, (int fd), (fd))
FAILING(int, sync_file_range, (int fd, off64_t offset, off64_t size, unsigned flags),
        (fd, offset, size, flags))
FAILING(int, posix_fadvise64, (int fd, off64_t offset, off64_t size, int advice), (fd, offset, size, advice))
FAILING(off64_t, lseek64, (int fd, off64_t offset, int whence), (fd, offset, whence))
FAILING(int, fallocate64, (int fd, int mode, off64_t offset, off64_t size), (fd, mode, offset, size))
FAILING(int, fstat64, (int fd, void* into), (fd, into))
FAILING(int, fstatat64, (int fd, const char* path, void* into, int flags), (fd, path, into, flags))
FAILING(ssize_t, readlink, (const char* path, char* into, std::size_t size), (path, into, size))
FAILING(ssize_t, readlinkat, (int fd, const char* path, char* into, std::size_t size), (fd, path, into, size))
FAILING(int, fstatvfs64, (int fd, void* into), (fd, into))
FAILING(int, fstatfs64, (int fd, void* into), (fd, into))
FAILING(int, ioctl, (int fd, unsigned long request, void* argument), (fd, request, argument))
FAILING(DIR*, fdopendir, (int fd), (fd))
FAILING(struct dirent64*, readdir64, (DIR * stream), (stream))
FAILING(int, fchmod, (int fd, mode_t mode), (fd, mode))
FAILING(int, fchown, (int fd, uid_t owner, gid_t group), (fd, owner, group))
FAILING(int, futimens, (int fd, const timespec* times), (fd, times))
FAILING(ssize_t, flistxattr, (int fd, char* into, std::size_t size), (fd, into, size))
FAILING(ssize_t, fgetxattr, (int fd, const char* name, void* into, std::size_t size), (fd, name, into, size))
FAILING(int, fsetxattr, (int fd, const char* name, const void* from, std::size_t size, int flags),
        (fd, name, from, size, flags))
FAILING(int, fremovexattr, (int fd, const char* name), (fd, name))
FAILING(int, linkat, (int from_fd, const char* from, int to_fd, const char* to, int flags),
        (from_fd, from, to_fd, to, flags))
FAILING(int, symlinkat, (const char* target, int fd, const char* name), (target, fd, name))
FAILING(int, renameat, (int from_fd, const char* from, int to_fd, const char* to), (from_fd, from, to_fd, to))
FAILING(int, renameat2, (int from_fd, const char* from, int to_fd, const char* to, unsigned flags),
        (from_fd, from, to_fd, to, flags))
FAILING(int, unlinkat, (int fd, const char* name, int flags), (fd, name, flags))
FAILING(int, mkdir, (const char* path, mode_t mode), (path, mode))
FAILING(int, fcntl64, (int fd, int command, long argument), (fd, command, argument))
FAILING(int, flock, (int fd, int operation), (fd, operation))

/// Linux closes the descriptor whatever it reports.
int __real_close(int fd);
int __wrap_close(int fd) {
    const auto failure = vmad::fault::strike();
    const int result = __real_close(fd);
    return failure.error == 0 ? result : (errno = failure.error, -1);
}

ssize_t __real_preadv64(int fd, const iovec* slices, int count, off64_t offset);
ssize_t __wrap_preadv64(int fd, const iovec* slices, int count, off64_t offset) {
    return vmad::fault::transfer_or_fail(slices, count, [&](const iovec* some, int some_count) {
        return __real_preadv64(fd, some, some_count, offset);
    });
}

ssize_t __real_pwritev64(int fd, const iovec* slices, int count, off64_t offset);
ssize_t __wrap_pwritev64(int fd, const iovec* slices, int count, off64_t offset) {
    return vmad::fault::transfer_or_fail(slices, count, [&](const iovec* some, int some_count) {
        return __real_pwritev64(fd, some, some_count, offset);
    });
}

ssize_t __real_copy_file_range(int in, off64_t* in_at, int out, off64_t* out_at, std::size_t size,
                               unsigned flags);
ssize_t __wrap_copy_file_range(int in, off64_t* in_at, int out, off64_t* out_at, std::size_t size,
                               unsigned flags) {
    const iovec all{nullptr, size};
    return vmad::fault::transfer_or_fail(&all, 1, [&](const iovec* some, int) {
        return __real_copy_file_range(in, in_at, out, out_at, some->iov_len, flags);
    });
}
}
