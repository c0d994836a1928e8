// Requests that wait for the daemon: what `vmactl add --announced` leaves while the daemon cannot be reached.
//
// Each is a file in `incoming/` with the raw path of an archive, terminated by a NUL. It is written under a
// name that begins with a dot, which is ignored here, and then renamed to one that does not. One thread at a
// time.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "io/file_system.hpp"
#include "queue/spool.hpp"

namespace vmad::queue {

/// Leaves a request for a daemon that cannot be reached: durable once this returns, and picked up by a daemon
/// that runs already. Makes the state directory where there is none yet, as the daemon does when it starts.
/// Returns the directory of the request. Throws base::SystemError.
std::string leave_request(io::FileSystem& fs, const std::string& state_dir, const std::string& path);

/// Queues a path durably. Returns why the path is refused, or nothing when it was queued.
using AcceptPath = std::function<std::optional<std::string>(const std::string& path)>;

/// Hands the path in each file to `accept`, in the order of their names, and only then removes the file, so
/// that a path is handed over at least once. A file that holds no absolute UTF-8 path, or a refused one, is
/// set aside and reported; one that cannot be read now is reported and stays for the next time. What a
/// request that was cut short has left is removed after a day. Throws base::SystemError, and what `accept`
/// throws; the files not yet taken stay.
[[nodiscard]] std::vector<BadFile> take_incoming(io::FileSystem& fs, const io::File& directory,
                                                 const AcceptPath& accept);

}  // namespace vmad::queue
