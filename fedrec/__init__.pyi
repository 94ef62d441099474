from fedrec.api import Plot as Plot
from fedrec.api import communities as communities
from fedrec.api import describe as describe
from fedrec.api import load_data as load_data
from fedrec.api import plot as plot
from fedrec.api import simulate as simulate
from fedrec.api import synthetic as synthetic
from fedrec.api import trace_uploads as trace_uploads
from fedrec.api import trajectory as trajectory
from fedrec.config.protocol import TrainingProtocol as TrainingProtocol
from fedrec.config.study import Study as Study
from fedrec.data.split import Split as Split
from fedrec.metrics.traces import UploadTrace as UploadTrace
from fedrec.metrics.traces import read_trace as read_trace
from fedrec.records import Record as Record
from fedrec.records import read_record as read_record
from fedrec.records import read_records as read_records

__version__: str
